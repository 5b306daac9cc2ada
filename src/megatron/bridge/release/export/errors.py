# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Errors and warnings of an export.

Importing this module imports neither torch nor Megatron Core.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from megatron.bridge.release.errors import OptionFormat, ReleaseError, ReleaseWarning, command_line
from megatron.bridge.release.layout import RELEASE
from megatron.bridge.release.text import summarize_names


_SOURCE = "Pass the model that the training started from."


@dataclass(eq=False)
class UnreadableCheckpointError(ReleaseError):
    """Megatron Core or torch cannot read a checkpoint."""

    directory: Path
    reason: str

    def text(self, option: OptionFormat) -> str:
        return (
            f"Cannot read the checkpoint in {self.directory} ({self.reason}). To find what is damaged, run: "
            f"{command_line('check', self.directory)}"
        )


@dataclass(eq=False)
class NoCheckpointError(ReleaseError):
    """A directory contains no checkpoint."""

    folder: Path

    def text(self, option: OptionFormat) -> str:
        return f"{self.folder} contains no checkpoint. Pass a checkpoint directory, or an iteration directory in it."


@dataclass(eq=False)
class UnknownIterationError(ReleaseError):
    """A checkpoint directory does not contain the requested checkpoint."""

    directory: Path
    name: str
    found: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        return (
            f"{self.directory} contains no checkpoint {self.name}. Choose one of: {', '.join(self.found) or 'none'}."
        )


@dataclass(eq=False)
class NotAReleaseError(ReleaseError):
    """The path of a release is another directory."""

    folder: Path

    def text(self, option: OptionFormat) -> str:
        return (
            f"{self.folder} is not a release. Pass the directory {RELEASE}/ in the checkpoint directory that the training "
            "started from."
        )


@dataclass(eq=False)
class NoSourceModelError(ReleaseError):
    """The bridge of an export was made from a config, so its model cannot be compared with a release's source model."""

    release: Path

    def text(self, option: OptionFormat) -> str:
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
        return (
            f"Unexpected tensors: {summarize_names(list(self.names))} in {self.folder}. A model of the source's config does not "
            f"have them. {_SOURCE}"
        )


@dataclass(eq=False)
class MissingTensorsError(ReleaseError):
    """A checkpoint lacks tensors of the source model."""

    names: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        return (
            f"Missing tensors: {summarize_names(list(self.names))}. The source model contains them, the checkpoint does not. Pass "
            "the model that the checkpoint was imported from."
        )


@dataclass(eq=False)
class MissingTensorsWarning(ReleaseWarning):
    """An export lacks tensors of the source model, as its import did."""

    names: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        return f"Missing tensors: {summarize_names(list(self.names))}. The source model contains them, the checkpoint does not."


@dataclass(eq=False)
class ShapeMismatchError(ReleaseError):
    """A tensor of a checkpoint has another shape than the source model's config implies."""

    folder: Path
    name: str
    found: tuple[int, ...]
    expected: tuple[int, ...]

    def text(self, option: OptionFormat) -> str:
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
        rows = " and ".join(f"{name} has {count} rows" for name, count in self.rows.items())
        return f"Shape mismatch: {rows} in {self.folder}, expected equal numbers. Save the checkpoint again."


@dataclass(eq=False)
class TensorDtypeError(ReleaseError):
    """A tensor of a checkpoint has a dtype that an export cannot have."""

    folder: Path
    name: str
    dtype: str

    def text(self, option: OptionFormat) -> str:
        return (
            f"Unsupported dtype: {self.name} is {self.dtype} in {self.folder}. An export supports bfloat16, float16 and "
            "float32. Save the checkpoint in one of them."
        )


@dataclass(eq=False)
class NoWeightsError(ReleaseError):
    """A directory contains no weights of a dtype that a config names."""

    folder: Path

    def text(self, option: OptionFormat) -> str:
        return f"{self.folder} contains no weights of dtype bfloat16, float16 or float32. Save the checkpoint again."


@dataclass(eq=False)
class ExportDtypeError(ReleaseError):
    """The requested dtype of an export is not supported."""

    dtype: str
    supported: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        return f"Unsupported dtype {self.dtype}. Pass {option('dtype')} with one of: {', '.join(self.supported)}."


@dataclass(eq=False)
class FileSizeError(ReleaseError):
    """A text is not the size of a file."""

    size: str

    def text(self, option: OptionFormat) -> str:
        return f"{self.size!r} is not a file size. Pass a number of bytes, or a size such as 5GB or 500MiB."


@dataclass(eq=False)
class NoTokenizerError(ReleaseError):
    """A directory contains no tokenizer that transformers loads."""

    folder: Path
    reason: str

    def text(self, option: OptionFormat) -> str:
        return (
            f"Cannot load the tokenizer in {self.folder} ({self.reason}). Pass a directory with tokenizer files, such as "
            "tokenizer.json."
        )


@dataclass(eq=False)
class SeveralProcessesError(ReleaseError):
    """An export was started in several processes."""

    def text(self, option: OptionFormat) -> str:
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
        free, needed = (tqdm.format_sizeof(size, "B") for size in (self.free, self.needed))
        return (
            f"Not enough disk space for {self.out}: {free} are free, the export needs {needed}. Free some space, or use a "
            "directory on another disk."
        )
