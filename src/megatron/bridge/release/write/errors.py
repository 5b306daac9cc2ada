# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Errors of saving and publishing a release.

Importing this module imports neither torch nor Megatron Core.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from megatron.bridge.release.errors import OptionFormat, ReleaseError, ReleaseWarning


LockKind = Literal["a symlink", "a directory", "a special file"]


@dataclass(eq=False)
class NoWeightsError(ReleaseError):
    """A model that was built for streaming has no weights in memory."""

    def text(self, option: OptionFormat) -> str:
        return f"This model was built for streaming and has no weights in memory. Save it with {option('release')}."


@dataclass(eq=False)
class SaveFormatError(ReleaseError):
    """A release has one checkpoint format."""

    ckpt_format: str

    def text(self, option: OptionFormat) -> str:
        return f"A release requires ckpt_format 'torch_dist', not {self.ckpt_format!r}. Remove ckpt_format, or {option('release')}."


@dataclass(eq=False)
class ModelConfigError(ReleaseError, TypeError):
    """The config of a model is not a model provider of Megatron-Bridge."""

    kind: str

    def text(self, option: OptionFormat) -> str:
        return f"The config of the model is a {self.kind}, not a model provider. Build the model with Megatron-Bridge."


@dataclass(eq=False)
class MountPointError(ReleaseError):
    """A directory that must be renamed is a mount point."""

    path: Path
    checkpoint_dir: Path

    def text(self, option: OptionFormat) -> str:
        return f"{self.path} is a mount point, which cannot be renamed. Mount {self.checkpoint_dir} instead."


@dataclass(eq=False)
class OverlayError(ReleaseError):
    """A directory is in a lower layer of an overlay filesystem, such as a container's image."""

    path: Path

    def text(self, option: OptionFormat) -> str:
        return (
            f"{self.path} cannot be renamed on this overlay filesystem: it may be in a lower layer, such as a container's "
            "image. Use an output path on a volume."
        )


@dataclass(eq=False)
class HardLinkError(ReleaseError):
    """A file cannot be hard-linked."""

    file: Path
    reason: str

    def text(self, option: OptionFormat) -> str:
        return (
            f"Cannot create a hard link to {self.file} ({self.reason}). Its filesystem may not support hard links, another user "
            "may own it, or it may be in another mount or quota project than the checkpoint directory. Copy the checkpoint "
            "directory to another filesystem and repair the copy."
        )


@dataclass(eq=False)
class LockFileError(ReleaseError):
    """The lock file of a checkpoint directory is not a regular file."""

    file: Path
    kind: LockKind

    def text(self, option: OptionFormat) -> str:
        return f"{self.file} is {self.kind}; expected a regular file. Remove it."


@dataclass(eq=False)
class OtherRankError(ReleaseError, RuntimeError):
    """Another rank has failed, and this one has lost the connection to it.

    Attributes:
        reason: The error of this rank.
        outcome: What became of the checkpoint directory.
    """

    reason: str
    outcome: str

    def text(self, option: OptionFormat) -> str:
        return f"Another rank failed; see its error ({self.reason}). {self.outcome}"


@dataclass(eq=False)
class DifferentSourceError(ReleaseError):
    """Ranks read different files of the source model."""

    rank: int
    folder: Path

    def text(self, option: OptionFormat) -> str:
        return f"Rank {self.rank} reads other model files than rank 0, in {self.folder}. Use identical files on all ranks."


@dataclass(eq=False)
class EnvironmentVariableError(ReleaseError):
    """An environment variable has an invalid value."""

    name: str
    value: str
    expected: str

    def text(self, option: OptionFormat) -> str:
        return f"{self.name} is {self.value!r}. Set it to {self.expected}."


@dataclass(eq=False)
class TokenizerFilesError(ReleaseError, RuntimeError):
    """The tokenizer files of a model cannot be copied.

    Attributes:
        model: Model ID, or directory of the model.
        reason: The error; None if there are no such files.
    """

    model: str
    reason: str | None

    def text(self, option: OptionFormat) -> str:
        reason = f"Cannot copy the tokenizer files of {self.model}: {self.reason}" if self.reason else ""
        return reason or f"{self.model} has no tokenizer files. Add them (tokenizer.json, tokenizer_config.json, ...)."


@dataclass(eq=False)
class UnsupportedFieldsWarning(ReleaseWarning):
    """No flag of Megatron-LM sets a field of a model."""

    fields: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        return (
            f"Megatron-LM has no flag for {', '.join(self.fields)}, so its built-in GPT model would differ. Build the model in "
            "your training script, from the run config of the release, or train it with Megatron-Bridge."
        )


@dataclass(eq=False)
class LocalModelError(ReleaseError):
    """A model was built from Megatron Core's own modules."""

    def text(self, option: OptionFormat) -> str:
        return (
            "The model was built without Transformer Engine: its checkpoint would lack keys that Megatron-LM requires. Build "
            f"it with Transformer Engine, or import it with import_ckpt({option('release')})."
        )
