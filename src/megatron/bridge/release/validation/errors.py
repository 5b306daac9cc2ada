# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Errors and warnings about the input of an import: options, output path,
architecture and tokenizer. `model_errors` has those about tensors and config.

Importing this module imports neither torch nor Megatron Core.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from megatron.bridge.release.errors import OptionFormat, ReleaseError, ReleaseWarning, command_line
from megatron.bridge.release.text import list_first


@dataclass(eq=False)
class OverwriteWithoutReleaseError(ReleaseError):
    """``overwrite`` was passed without ``release``."""

    def text(self, option: OptionFormat) -> str:
        return f"{option('overwrite')} requires {option('release')}. Add {option('release')}, or remove {option('overwrite')}."


@dataclass(eq=False)
class OutputPathError(ReleaseError):
    """An output path cannot be used.

    Attributes:
        path: The path as the user passed it.
        problem: What is wrong with it.
        at: The part of it, or the directory above it, that the problem is about.
    """

    path: str | Path
    problem: Literal[
        "empty",
        "too long",
        "unknown user",
        "not UTF-8",
        "dangling symlink",
        "not a directory",
        "file",
        "read-only",
        "no permission",
    ]
    at: str | Path = ""

    def text(self, option: OptionFormat) -> str:
        path, at = str(self.path), self.at
        text = {
            "empty": f"The output path {path!r} is not a name of a directory. Pass a directory.",
            "too long": f"The output path {path[:40]}… is too long for the filesystem: {len(path)} characters. Shorten it.",
            "unknown user": f"Cannot expand {at} in the output path: no such user. For a literal path, pass ./{path}",
            "not UTF-8": f"The output path {path} is not valid UTF-8, so no file of a release can contain it. Rename it.",
            "dangling symlink": f"The output path {path} contains a dangling symlink: {at}. Remove it, or create its target.",
            "not a directory": f"Cannot resolve '..' in the output path {path}: {at} is not a directory. Correct the path.",
            "file": f"Cannot create the output directory {path}: {at} is a file. Pass a directory.",
            "read-only": f"Cannot write to {path}: the filesystem of {at} is read-only. Use another output path.",
            "no permission": f"Cannot write to {path}: no permission in {at}. Use another output path.",
        }
        return text[self.problem]


@dataclass(eq=False)
class CheckpointExistsError(ReleaseError):
    """The output directory contains a checkpoint that must not be replaced.

    Attributes:
        path: The checkpoint directory.
        found: Its checkpoints and its tracker.
        source: Source model of its release, if that is recorded.
        is_release: Whether it contains a release and no training.
        can_repair: Whether it contains a default import, which ``repair`` converts.
        overwrite: Whether the user passed ``overwrite``.
    """

    path: Path
    found: tuple[str, ...]
    source: str | None
    is_release: bool
    can_repair: bool
    overwrite: bool

    def text(self, option: OptionFormat) -> str:
        source = f" imported from {self.source}" if self.source is not None else ""
        found = f"{self.path} already contains a checkpoint{source}: {', '.join(self.found)}. Use another output path"
        if self.is_release:
            return f"{found}, or pass {option('overwrite')} to replace the release."
        repair = f", or convert the checkpoint to a release: {command_line('repair', self.path)}"
        only = f" ({option('overwrite')} replaces only a release.)"
        return f"{found}{repair if self.can_repair else '.'}{only if self.overwrite else ''}"


@dataclass(eq=False)
class ForeignFilesError(ReleaseError):
    """A release that would be replaced contains files that no import has written."""

    release: Path
    names: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        return (
            f"{self.release} contains files that an import did not write, and replacing the release would delete them: "
            f"{list_first(self.names)}. Move them to another directory, or use another output path."
        )


@dataclass(eq=False)
class TrainedFromReleaseError(ReleaseError):
    """Trained checkpoints belong to a release that another model would replace.

    Attributes:
        path: The checkpoint directory.
        trained: Their names.
        source: Source model of the release, if that is recorded.
        model: The model that would replace it.
    """

    path: Path
    trained: tuple[str, ...]
    source: str | None
    model: str

    def text(self, option: OptionFormat) -> str:
        return (
            f"{self.path} contains checkpoints that were trained from {self.source}: {list_first(self.trained)}. With a "
            f"release of {self.model} next to them, they could no longer be exported. Use another output path."
        )


@dataclass(eq=False)
class UnsupportedKeywordError(ReleaseError):
    """``import_ckpt`` does not support a keyword of ``from_pretrained`` for a release."""

    names: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        if self.names == ("proxies",):
            return "huggingface_hub does not support the keyword proxies. Set HTTPS_PROXY in the environment instead."
        return (
            f"{option('release')} does not support the keyword {', '.join(self.names)}. Correct its name; or apply it to the "
            "model, save the model with save_pretrained() and import the result."
        )


@dataclass(eq=False)
class UnsupportedDtypeError(ReleaseError):
    """A release cannot have a dtype.

    Attributes:
        dtype: The dtype.
        where: The keyword or the config that requests it.
        supported: Dtypes that a release can have.
    """

    dtype: str
    where: str
    supported: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        supported = f"{', '.join(self.supported[:-1])} or {self.supported[-1]}"
        return f"Unsupported dtype: {self.dtype} ({self.where}). Set it to {supported}."


@dataclass(eq=False)
class UnsupportedArchitectureError(ReleaseError):
    """Megatron-Bridge does not support the architecture of a model."""

    model: Path
    architectures: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        return (
            f"Unsupported architecture: {', '.join(self.architectures)} ({self.model}). To list the supported ones, run: python "
            "-c 'from megatron.bridge import AutoBridge; print(AutoBridge.list_supported_models())'"
        )


@dataclass(eq=False)
class CustomModelCodeError(ReleaseError):
    """Megatron-Bridge does not support the custom code of a model; transformers has a class for the architecture."""

    model: Path
    code: tuple[str, ...]
    architectures: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        return (
            f"{self.model} has custom code ({', '.join(self.code)}) that Megatron-Bridge does not support. Remove "
            f"{option('trust_remote_code')} to import it as {', '.join(self.architectures)} of transformers."
        )


@dataclass(eq=False)
class CustomConfigCodeError(ReleaseError):
    """The config of a model requires custom code, which the user has not allowed to run."""

    model: Path
    code: str

    def text(self, option: OptionFormat) -> str:
        return (
            f"The config of {self.model} requires custom Python code ({self.code}). Review the code, then pass "
            f"{option('trust_remote_code')} to run it."
        )


@dataclass(eq=False)
class CustomCodeNotFoundError(ReleaseError):
    """The custom code of a config is in another repository and cannot be downloaded."""

    model: Path
    repository: str
    reason: str

    def text(self, option: OptionFormat) -> str:
        return (
            f"The config of {self.model} requires Python code of {self.repository}, which cannot be downloaded ({self.reason}). "
            f"Copy the code next to config.json, and remove '{self.repository}--' from its auto_map."
        )


@dataclass(eq=False)
class ConfigRejectedError(ReleaseError):
    """transformers cannot read a config.json."""

    file: Path
    reason: str

    def text(self, option: OptionFormat) -> str:
        return (
            f"transformers cannot read {self.file}: {self.reason.rstrip('.')}. Correct the file, or install the version of "
            "transformers that the model requires."
        )


@dataclass(eq=False)
class ListExpectedError(ReleaseError):
    """An option that requires a list of strings has another value."""

    option: str
    value: str

    def text(self, option: OptionFormat) -> str:
        return f"{option(self.option)} must be a list of strings, not {self.value}. Pass a list."


@dataclass(eq=False)
class ModelDifferenceError(ReleaseError):
    """A Megatron model does not match the Hugging Face model that it is saved as.

    Attributes:
        model: Name of the Hugging Face model.
        differences: The arguments of Megatron-LM that differ, with their values.
    """

    model: str
    differences: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        return (
            f"The Megatron model does not match {self.model}: {'; '.join(self.differences)}. To save a modified model, call "
            "megatron.bridge.training.model_load_save.save_megatron_model(model, path, release=True)."
        )


@dataclass(eq=False)
class NoModelError(ReleaseError):
    """The list of model parts is empty."""

    def text(self, option: OptionFormat) -> str:
        return "The model list is empty. Pass the list that to_megatron_model() returns."


@dataclass(eq=False)
class UnknownConfigFieldError(ReleaseError):
    """``allow_config_fields`` names a field that the config does not have."""

    names: tuple[str, ...]
    fields: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        return (
            f"Unknown field in {option('allow_config_fields')}: {', '.join(self.names)}. Remove it. The config has: "
            f"{', '.join(self.fields)}."
        )


@dataclass(eq=False)
class TokenizerError(ReleaseError):
    """transformers cannot load the tokenizer of a model."""

    path: str
    reason: str

    def text(self, option: OptionFormat) -> str:
        return (
            f"transformers cannot load the tokenizer in {self.path}: {self.reason.rstrip('.')}. Add the tokenizer files of the model "
            "(tokenizer.json, tokenizer_config.json, ...)."
        )


@dataclass(eq=False)
class TokenizerSizeError(ReleaseError):
    """A tokenizer has token IDs without a row in the embedding.

    Attributes:
        path: Model ID or directory of the tokenizer.
        largest: Its largest token ID.
        token: That token, if the class of transformers has added it, with the name of the class.
        rows: Number of rows of the embedding.
    """

    path: str
    largest: int
    token: str | None
    rows: int

    def text(self, option: OptionFormat) -> str:
        token = f" ({self.token})" if self.token is not None else ""
        return (
            f"The tokenizer in {self.path} has token IDs up to {self.largest}{token}, but the embedding has {self.rows} rows. Use "
            "the original tokenizer of the model, or enlarge the embedding with resize_token_embeddings() first."
        )


@dataclass(eq=False)
class TokenizerClassWarning(ReleaseWarning):
    """transformers loads a tokenizer with a class that tokenizes differently from its tokenizer.json."""

    path: str
    kind: str

    def text(self, option: OptionFormat) -> str:
        return (
            f"transformers loads the tokenizer in {self.path} as {self.kind}, which tokenizes differently from tokenizer.json. "
            f"The release uses {self.kind}. If the model was trained with tokenizer.json, pass Megatron-LM --tokenizer-model with "
            "a directory that contains only tokenizer.json and tokenizer_config.json."
        )


@dataclass(eq=False)
class SeveralTasksError(ReleaseError):
    """srun has started several tasks without torchrun."""

    tasks: int

    def text(self, option: OptionFormat) -> str:
        return (
            f"srun has started {self.tasks} tasks, and each would import the whole model. Start one task per node that runs "
            "torchrun, as in examples/import.sbatch; or a single task: srun --ntasks 1."
        )
