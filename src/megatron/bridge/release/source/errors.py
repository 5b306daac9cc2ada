# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The errors of reading Hugging Face models.

Importing this module imports neither torch nor Megatron Core.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from megatron.bridge.release.errors import OptionFormat, ReleaseError
from megatron.bridge.release.text import list_first, quote_if_unprintable


_DOWNLOAD = "Download the model again."


# The local directory and config.json.


@dataclass(eq=False)
class InvalidModelNameError(ReleaseError):
    """A name can be neither a path nor a model ID."""

    name: str

    def text(self, option: OptionFormat) -> str:
        return f"Invalid model name: {self.name!r}. Pass a Hugging Face model ID or a local directory."


@dataclass(eq=False)
class LocalRevisionError(ReleaseError):
    """A revision of a local directory was requested."""

    folder: Path
    revision: str

    def text(self, option: OptionFormat) -> str:
        return (
            f"{self.folder} is a local directory, which has no revision {self.revision}. Remove {option('revision')}, or "
            "pass a model ID of the Hugging Face Hub."
        )


@dataclass(eq=False)
class ModelDirNotFoundError(ReleaseError):
    """A local directory does not exist.

    Attributes:
        folder: The directory.
        parent: Its parent, if the name could also be a model ID and was taken for a path because this exists; else None.
    """

    folder: Path
    parent: Path | None

    def text(self, option: OptionFormat) -> str:
        reason = f"{self.parent}/ exists here, so this is not taken for a model ID. " if self.parent else ""
        return f"No such directory: {self.folder}. {reason}Pass a Hugging Face model ID or a local directory."


@dataclass(eq=False)
class NotModelDirError(ReleaseError):
    """A path is not the directory of a Hugging Face model."""

    path: Path
    kind: Literal["file", "directory"]

    def text(self, option: OptionFormat) -> str:
        if self.kind == "file":
            return f"{self.path} is a file. Pass the directory of the model."
        return (
            f"{self.path} is not a Hugging Face model: config.json is missing. Pass the directory that save_pretrained() "
            "wrote."
        )


@dataclass(eq=False)
class GlobCharactersError(ReleaseError):
    """The path of a model contains characters of glob patterns."""

    folder: Path

    def text(self, option: OptionFormat) -> str:
        return (
            f"{self.folder} contains *, ? or [, so Megatron-Bridge would treat the path as a glob pattern. Rename the "
            "directory, or pass a symlink to it."
        )


@dataclass(eq=False)
class InvalidConfigError(ReleaseError):
    """A config.json cannot be read, or lacks what every model has."""

    file: Path
    reason: str

    def text(self, option: OptionFormat) -> str:
        return f"{self.file} is invalid: {self.reason}. Download it again, or save the model again."


@dataclass(eq=False)
class CustomWeightsFileError(ReleaseError):
    """A config declares a file of weights of its own.

    Attributes:
        config: Path of the config, or the name of the model.
        weights: The file.
    """

    config: Path | str
    weights: str

    def text(self, option: OptionFormat) -> str:
        return (
            f"{self.config} sets transformers_weights to {self.weights!r}, which Megatron-Bridge does not support. Save the "
            "model again with save_pretrained()."
        )


@dataclass(eq=False)
class OutputInModelError(ReleaseError):
    """The output path is inside the model."""

    path: Path
    model: Path

    def text(self, option: OptionFormat) -> str:
        return f"The output path {self.path} is inside the model directory {self.model}. Choose another directory."


@dataclass(eq=False)
class FreeSpaceError(ReleaseError):
    """A disk has too little free space.

    Attributes:
        path: The output path.
        free: Its free space, formatted.
        needed: Size of what is to be written, formatted.
    """

    path: Path
    free: str
    needed: str

    def text(self, option: OptionFormat) -> str:
        return (
            f"Not enough space: {self.path} has {self.free} free, the checkpoint needs {self.needed}. Free some space, or "
            "choose a directory on another disk."
        )


# The weights.


@dataclass(eq=False)
class AdapterError(ReleaseError):
    """A directory contains a LoRA adapter."""

    folder: Path

    def text(self, option: OptionFormat) -> str:
        return (
            f"{self.folder} contains a LoRA adapter (adapter_config.json), which transformers applies when it loads the "
            "model. Load it with PEFT, call merge_and_unload() and save_pretrained(), and import the merged model. If the "
            "weights are merged already, remove adapter_config.json."
        )


@dataclass(eq=False)
class WeightsNotFoundError(ReleaseError):
    """A directory has no safetensors files that transformers loads.

    Attributes:
        folder: The directory.
        found: Other files of weights in it.
        kind: What they are: safetensors files without an index, one safetensors file of another name, other formats, or
            the name of a directory that FSDP has written.
    """

    folder: Path
    found: tuple[str, ...]
    kind: Literal["none", "no index", "other name", "other format", "fsdp"]

    def text(self, option: OptionFormat) -> str:
        files = list_first(self.found)
        if self.kind == "none":
            return f"{self.folder} contains no weights (*.safetensors). {_DOWNLOAD}"
        if self.kind == "no index":
            return (
                f"model.safetensors.index.json is missing in {self.folder}, which contains {files}. transformers cannot "
                f"load the model without it. {_DOWNLOAD}"
            )
        if self.kind == "other name":
            return (
                f"{self.folder} contains neither model.safetensors nor model.safetensors.index.json, and transformers reads "
                f"no other file. If {files} contains all weights, rename it to model.safetensors."
            )
        if self.kind == "fsdp":
            return (
                f"The weights of {self.folder} are sharded by FSDP ({files}/). Merge them first: accelerate merge-weights "
                f"{shlex.quote(str(self.folder / self.found[0]))} OUT, and copy config.json and the tokenizer files to OUT."
            )
        return (
            f"{self.folder} contains no safetensors files, but {files}. Convert it first: load it with transformers' "
            "AutoModelForCausalLM.from_pretrained() and save it with save_pretrained()."
        )


@dataclass(eq=False)
class TwoModelsError(ReleaseError):
    """A directory contains model.safetensors and, in other files, a model with an index."""

    folder: Path

    def text(self, option: OptionFormat) -> str:
        return (
            f"{self.folder} contains two models: model.safetensors, which transformers reads, and the files in "
            "model.safetensors.index.json, which Megatron-Bridge reads. Remove one of the two."
        )


@dataclass(eq=False)
class NotModelFileError(ReleaseError):
    """A file of a model is a dangling symlink or not a regular file."""

    path: Path

    def text(self, option: OptionFormat) -> str:
        return f"{self.path} is a dangling symlink or not a regular file. Remove it, or download the model again."


@dataclass(eq=False)
class CorruptIndexError(ReleaseError):
    """A model.safetensors.index.json is corrupt."""

    path: Path
    reason: str

    def text(self, option: OptionFormat) -> str:
        return f"{self.path} is corrupt: {self.reason}. {_DOWNLOAD}"


@dataclass(eq=False)
class MissingShardsError(ReleaseError):
    """Files of an index are missing.

    Attributes:
        index: Path of the index.
        files: Names of the missing files.
        tensors: Number of the tensors in them.
        total: Number of all tensors.
    """

    index: Path
    files: tuple[str, ...]
    tensors: int
    total: int

    def text(self, option: OptionFormat) -> str:
        return (
            f"Missing weight files: {list_first(self.files)}, with {self.tensors} of the {self.total} tensors in "
            f"{self.index}. {_DOWNLOAD}"
        )


@dataclass(eq=False)
class TensorsNotInShardsError(ReleaseError):
    """Tensors of an index are not in its files."""

    index: Path
    names: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        return (
            f"{self.index} lists {len(self.names)} tensors that are missing from the weight files: {list_first(self.names)}. "
            f"{_DOWNLOAD}"
        )


@dataclass(eq=False)
class UnlistedTensorError(ReleaseError):
    """A file contains a tensor that the index does not list for it."""

    path: Path
    name: str

    def text(self, option: OptionFormat) -> str:
        return (
            f"{self.path} contains the tensor {quote_if_unprintable(self.name)}, which model.safetensors.index.json does not "
            f"list for this file: transformers would read it, Megatron-Bridge would not. {_DOWNLOAD}"
        )


@dataclass(eq=False)
class CorruptWeightsError(ReleaseError):
    """A safetensors file is truncated or corrupt."""

    path: Path
    size: int
    reason: str

    def text(self, option: OptionFormat) -> str:
        return f"{self.path} ({self.size:,} bytes) is not a complete safetensors file: {self.reason}. {_DOWNLOAD}"


@dataclass(eq=False)
class GitLfsPointerError(ReleaseError):
    """A file is a Git LFS pointer."""

    path: Path

    def text(self, option: OptionFormat) -> str:
        return f"{self.path} is a Git LFS pointer, not the file itself. Run `git lfs pull` in the model directory."


@dataclass(eq=False)
class UnreadableFileError(ReleaseError):
    """A file cannot be read."""

    path: Path
    reason: str

    def text(self, option: OptionFormat) -> str:
        return f"{self.path} cannot be read ({self.reason}). Make it readable for this user."


@dataclass(eq=False)
class FileChangedError(ReleaseError):
    """A file has changed since its header was read."""

    path: Path

    def text(self, option: OptionFormat) -> str:
        return (
            f"{self.path} changed while it was read. Make sure that nothing writes to it, and run the command again."
        )


@dataclass(eq=False)
class UnmatchedPatternsError(ReleaseError):
    """Patterns match no tensor of the model."""

    patterns: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        return (
            f"No tensor of the model matches {', '.join(map(repr, self.patterns))}. Correct "
            f"{option('allow_unused_tensors')}, or remove the pattern."
        )
