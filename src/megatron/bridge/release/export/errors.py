# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Errors and warnings of an export.

Importing this module imports neither torch nor Megatron Core.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from megatron.bridge.release.errors import OptionFormat, ReleaseError, ReleaseWarning, command_line
from megatron.bridge.release.layout import RELEASE
from megatron.bridge.release.megatron_args.comparison import describe_differences
from megatron.bridge.release.text import summarize_names


_SOURCE = "Pass the model that the training started from."

# By the names of arguments, the checkpoint's value and the expected one.
Differences = Mapping[str, tuple[Any, Any]]


@dataclass(eq=False)
class UnreadableCheckpointError(ReleaseError):
    """Megatron Core or torch cannot read a checkpoint."""

    directory: Path
    reason: str

    def text(self, option: OptionFormat) -> str:
        """See `Message`."""
        return (
            f"Cannot read the checkpoint in {self.directory} ({self.reason}). To find what is damaged, run: "
            f"{command_line('check', self.directory)}"
        )


@dataclass(eq=False)
class NoCheckpointError(ReleaseError):
    """A directory contains no checkpoint."""

    folder: Path

    def text(self, option: OptionFormat) -> str:
        """See `Message`."""
        return f"{self.folder} contains no checkpoint. Pass a checkpoint directory, or an iteration directory in it."


@dataclass(eq=False)
class UnknownIterationError(ReleaseError):
    """A checkpoint directory does not contain the requested checkpoint."""

    directory: Path
    name: str
    found: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        """See `Message`."""
        return (
            f"{self.directory} contains no checkpoint {self.name}. Choose one of: {', '.join(self.found) or 'none'}."
        )


@dataclass(eq=False)
class NotAReleaseError(ReleaseError):
    """The path of a release is another directory."""

    folder: Path

    def text(self, option: OptionFormat) -> str:
        """See `Message`."""
        return (
            f"{self.folder} is not a release. Pass the directory {RELEASE}/ in the checkpoint directory that the training "
            "started from."
        )


@dataclass(eq=False)
class NoSourceModelError(ReleaseError):
    """The bridge of an export was made from a config, so its model cannot be compared with a release's source model."""

    release: Path

    def text(self, option: OptionFormat) -> str:
        """See `Message`."""
        return (
            f"Cannot compare a config without weights with the source model of {self.release}. Export with "
            "AutoBridge.from_hf_pretrained and the model that the training started from."
        )


@dataclass(eq=False)
class UnsupportedExportError(ReleaseError, NotImplementedError):
    """Megatron-Bridge cannot export a complete model of this architecture."""

    bridge: str
    names: tuple[str, ...] = ()

    def text(self, option: OptionFormat) -> str:
        """See `Message`."""
        parameters = (
            f" It does not convert these parameters: {summarize_names(list(self.names))}." if self.names else ""
        )
        return f"{self.bridge} does not support the export of a complete Hugging Face model.{parameters}"


@dataclass(eq=False)
class UnexpectedTensorsError(ReleaseError):
    """A checkpoint contains tensors that a model of the source's config does not have."""

    folder: Path
    names: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        """See `Message`."""
        return (
            f"Unexpected tensors: {summarize_names(list(self.names))} in {self.folder}. A model of the source's config does not "
            f"have them. {_SOURCE}"
        )


@dataclass(eq=False)
class MissingTensorsError(ReleaseError):
    """A checkpoint lacks tensors of the source model."""

    names: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        """See `Message`."""
        return (
            f"Missing tensors: {summarize_names(list(self.names))}. The source model contains them, the checkpoint does not. Pass "
            "the model that the checkpoint was imported from."
        )


@dataclass(eq=False)
class MissingTensorsWarning(ReleaseWarning):
    """An export lacks tensors of the source model, as its import did."""

    names: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        """See `Message`."""
        return f"Missing tensors: {summarize_names(list(self.names))}. The source model contains them, the checkpoint does not."


@dataclass(eq=False)
class ShapeMismatchError(ReleaseError):
    """A tensor of a checkpoint has another shape than the source model's config implies."""

    folder: Path
    name: str
    found: tuple[int, ...]
    expected: tuple[int, ...]

    def text(self, option: OptionFormat) -> str:
        """See `Message`."""
        return (
            f"Shape mismatch: {self.name} is {list(self.found)} in {self.folder}, the source's config implies "
            f"{list(self.expected)}. {_SOURCE}"
        )


@dataclass(eq=False)
class RowMismatchError(ReleaseError):
    """The tensors with a row for each token have different numbers of rows.

    Attributes:
        rows: Number of rows by the names of the tensors.
    """

    folder: Path
    rows: Mapping[str, int]

    def text(self, option: OptionFormat) -> str:
        """See `Message`."""
        rows = " and ".join(f"{name} has {count} rows" for name, count in self.rows.items())
        return f"Shape mismatch: {rows} in {self.folder}, expected equal numbers. Save the checkpoint again."


@dataclass(eq=False)
class TensorDtypeError(ReleaseError):
    """A tensor of a checkpoint has a dtype that an export cannot have."""

    folder: Path
    name: str
    dtype: str

    def text(self, option: OptionFormat) -> str:
        """See `Message`."""
        return (
            f"Unsupported dtype: {self.name} is {self.dtype} in {self.folder}. An export supports bfloat16, float16 and "
            "float32. Save the checkpoint in one of them."
        )


@dataclass(eq=False)
class NoWeightsError(ReleaseError):
    """A directory contains no weights of a dtype that a config names."""

    folder: Path

    def text(self, option: OptionFormat) -> str:
        """See `Message`."""
        return f"{self.folder} contains no weights of dtype bfloat16, float16 or float32. Save the checkpoint again."


@dataclass(eq=False)
class ExportDtypeError(ReleaseError):
    """The requested dtype of an export is not supported."""

    dtype: str
    supported: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        """See `Message`."""
        return f"Unsupported dtype {self.dtype}. Pass {option('dtype')} with one of: {', '.join(self.supported)}."


@dataclass(eq=False)
class FileSizeError(ReleaseError):
    """A text is not the size of a file."""

    size: str

    def text(self, option: OptionFormat) -> str:
        """See `Message`."""
        return f"{self.size!r} is not a file size. Pass a number of bytes, or a size such as 5GB or 500MiB."


@dataclass(eq=False)
class NoArgsError(ReleaseError):
    """A checkpoint of Megatron-LM has no args in its common state."""

    folder: Path

    def text(self, option: OptionFormat) -> str:
        """See `Message`."""
        return (
            f"{self.folder} has no args, so it is unknown how the model was trained. Save the checkpoint with Megatron-LM "
            "or Megatron-Bridge."
        )


@dataclass(eq=False)
class InvalidTrainedConfigError(ReleaseError):
    """The args of a checkpoint lead to a config that transformers or Megatron-Bridge refuses."""

    reason: str

    def text(self, option: OptionFormat) -> str:
        """See `Message`."""
        return (
            f"The checkpoint's arguments do not result in a valid config of this model ({self.reason}). Pass the source "
            "model of the checkpoint."
        )


@dataclass(eq=False)
class InexpressibleArgsError(ReleaseError):
    """A Hugging Face config of the model cannot express the args of a checkpoint."""

    differences: Differences

    def text(self, option: OptionFormat) -> str:
        """See `Message`."""
        return (
            "A Hugging Face config of this model cannot express the arguments of the training: "
            f"{describe_differences(self.differences, 'release')}. Train with the release's values, or pass the source "
            "model of the checkpoint."
        )


@dataclass(eq=False)
class InexactConfigError(ReleaseError):
    """Megatron-LM and transformers compute different functions from the config that the args lead to.

    Attributes:
        problems: Sentences of the config check.
    """

    differences: Differences
    problems: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        """See `Message`."""
        return (
            "A Hugging Face config cannot express the arguments of the training exactly: "
            f"{describe_differences(self.differences, 'release')}. {' '.join(self.problems)}"
        )


@dataclass(eq=False)
class RunConfigMismatchError(ReleaseError):
    """A checkpoint was trained with other arguments than the run config next to it."""

    folder: Path
    differences: Differences

    def text(self, option: OptionFormat) -> str:
        """See `Message`."""
        return (
            f"{self.folder} was trained with other arguments than its run config: "
            f"{describe_differences(self.differences, 'run config')}. Export the checkpoint with AutoBridge.export_ckpt, "
            "which writes them to config.json, and import the exported model."
        )


@dataclass(eq=False)
class SourceConfigMismatchError(ReleaseError):
    """The config.json of the source model does not describe a Megatron model that is saved with it."""

    differences: Differences

    def text(self, option: OptionFormat) -> str:
        """See `Message`."""
        return (
            "The source model's config.json does not describe this model: "
            f"{describe_differences(self.differences, 'source model')}. Save the model with save_megatron_model and export "
            "the checkpoint with AutoBridge.export_ckpt, which writes them to config.json."
        )


@dataclass(eq=False)
class RopeFactorMismatchError(ReleaseError):
    """The given rope scaling factor contradicts the args of the checkpoint.

    Attributes:
        recorded: Factor in the args; None if the model was trained without rope scaling.
    """

    factor: float
    recorded: float | None

    def text(self, option: OptionFormat) -> str:
        """See `Message`."""
        trained = "without rope scaling" if self.recorded is None else f"with the recorded factor {self.recorded:g}"
        return (
            f"Rope scaling factor mismatch: {self.factor:g} was given, the checkpoint was trained {trained}. Omit "
            f"{option('rope_scaling_factor')}."
        )


@dataclass(eq=False)
class NoTokenizerError(ReleaseError):
    """A directory contains no tokenizer that transformers loads."""

    folder: Path
    reason: str

    def text(self, option: OptionFormat) -> str:
        """See `Message`."""
        return (
            f"Cannot load the tokenizer in {self.folder} ({self.reason}). Pass a directory with tokenizer files, such as "
            "tokenizer.json."
        )


@dataclass(eq=False)
class TokenizerMismatchError(ReleaseError):
    """A tokenizer has more tokens than the embedding has rows, or fewer than the training had.

    Attributes:
        rows: Rows of the embedding; None if the tokenizer has too few tokens.
        trained: Vocabulary size in the args.
    """

    tokens: int
    rows: int | None
    trained: int

    def text(self, option: OptionFormat) -> str:
        """See `Message`."""
        other = f"the training had {self.trained} (args.vocab_size)"
        if self.rows is not None:
            other = f"the checkpoint's embedding has {self.rows} rows"
        return f"The tokenizer has {self.tokens} tokens, {other}. Pass the tokenizer of the training."


@dataclass(eq=False)
class VocabSizeMismatchError(ReleaseError):
    """The rows of a checkpoint's embedding do not follow from the source model's vocabulary and padding.

    Attributes:
        trained: Vocabulary size in the args, if it is there.
        declared: Vocabulary size in the source model's config.
    """

    rows: int
    trained: int | None
    declared: int

    def text(self, option: OptionFormat) -> str:
        """See `Message`."""
        trained = "" if self.trained is None else f" (args.vocab_size: {self.trained})"
        return (
            f"Vocabulary size mismatch: the checkpoint's embedding has {self.rows} rows{trained}, the source model's config "
            f"declares {self.declared}. Pass the tokenizer of the training, whose size decides which rows are exported."
        )


@dataclass(eq=False)
class SeveralProcessesError(ReleaseError):
    """An export was started in several processes."""

    def text(self, option: OptionFormat) -> str:
        """See `Message`."""
        return "An export runs in one process. Start it without torchrun."


@dataclass(eq=False)
class OutputInCheckpointError(ReleaseError):
    """The output directory of an export is in a checkpoint.

    Attributes:
        is_name: Whether it only has the name of an iteration directory in a checkpoint directory.
    """

    out: Path
    directory: Path
    is_name: bool

    def text(self, option: OptionFormat) -> str:
        """See `Message`."""
        where = (
            "has the name of an iteration directory in the checkpoint directory"
            if self.is_name
            else "is inside the checkpoint"
        )
        return f"The output path {self.out} {where} {self.directory}. Use another output path."


@dataclass(eq=False)
class OutputNotEmptyError(ReleaseError):
    """The output directory of an export is not empty.

    Attributes:
        names: Names of the files in it.
    """

    out: Path
    names: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        """See `Message`."""
        more = f" and {len(self.names) - 3} more" if len(self.names) > 3 else ""
        return f"{self.out} is not empty: {', '.join(self.names[:3])}{more}. Use a new or an empty directory."


@dataclass(eq=False)
class DiskSpaceError(ReleaseError):
    """A filesystem has too little free space.

    Attributes:
        free: Free space, in bytes.
        needed: Size of the files to write, in bytes.
    """

    out: Path
    free: int
    needed: int

    def text(self, option: OptionFormat) -> str:
        """See `Message`."""
        free, needed = (tqdm.format_sizeof(size, "B") for size in (self.free, self.needed))
        return (
            f"Not enough disk space for {self.out}: {free} are free, the export needs {needed}. Free some space, or use a "
            "directory on another disk."
        )
