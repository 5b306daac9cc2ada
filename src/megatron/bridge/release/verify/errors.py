# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Errors of the logit check, the comparison of weights, and the flags that start Megatron-LM."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from megatron.bridge.release.errors import Message, OptionFormat, ReleaseError, command_line, join_sentences
from megatron.bridge.release.layout import COMMON_STATE, FLAGS_FILE
from megatron.bridge.release.megatron_args.comparison import describe_differences
from megatron.bridge.release.text import list_first, summarize_names


class ArgsProblem(Message):
    """Base of what can be wrong with the args of a checkpoint; the text has no full stop."""


@dataclass
class MissingArgs(ArgsProblem):
    """Args that Megatron-LM needs are missing."""

    names: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        return f"the stored args lack {list_first(self.names)}, which Megatron-LM needs"


@dataclass
class NonIntegerArg(ArgsProblem):
    """An arg that is a size is no integer."""

    name: str
    value: Any

    def text(self, option: OptionFormat) -> str:
        return f"args.{self.name} must be an integer, got {self.value!r}"


@dataclass
class ArgsShapeMismatch(ArgsProblem):
    """A tensor has another shape than the args imply."""

    tensor: str
    shape: tuple[int, ...]
    expected: tuple[int, ...]

    def text(self, option: OptionFormat) -> str:
        return f"{self.tensor} has shape {list(self.shape)}, args imply {list(self.expected)}"


@dataclass
class ArgsTyingMismatch(ArgsProblem):
    """The args and the tensors disagree on whether the output layer is tied to the embedding."""

    value: Any

    def text(self, option: OptionFormat) -> str:
        has = "no" if self.value else "an"
        return f"args.untie_embeddings_and_output_weights is {self.value!r}, but the checkpoint has {has} output layer"


@dataclass(eq=False)
class DamagedCheckpointError(ReleaseError):
    """A finding of `check` rules out what was asked for."""

    finding: Message

    def text(self, option: OptionFormat) -> str:
        return self.finding.text(option)


@dataclass(eq=False)
class RevisionWithoutModelError(ReleaseError):
    """A revision was given without a model."""

    def text(self, option: OptionFormat) -> str:
        options = [option(name) for name in ("made_of", "deep", "compute")]
        return f"{option('revision')} needs a model. Add {', '.join(options[:-1])} or {options[-1]}."


@dataclass(eq=False)
class UnusableArgsError(ReleaseError):
    """The args of a checkpoint do not yield the flags to start Megatron-LM with.

    Attributes:
        release: Release whose flags can be used instead; None if the checkpoint is the release.
    """

    folder: Path
    problem: Message | ValueError
    release: Path | None

    def text(self, option: OptionFormat) -> str:
        problem = self.problem.text(option) if isinstance(self.problem, Message) else str(self.problem)
        advice = f"To fix this, run: {command_line('repair', self.folder.parent)}"
        return join_sentences(
            f"{self.folder}: {problem}", advice if self.release is None else _own_flags(self.release)
        )


@dataclass(eq=False)
class ChangedArgsError(ReleaseError):
    """A training has changed arguments in a way that no flags express."""

    folder: Path
    differences: Mapping[str, tuple[Any, Any]]
    release: Path

    def text(self, option: OptionFormat) -> str:
        return (
            f"{self.folder} was trained with other arguments than its release, which no flags express: "
            f"{describe_differences(dict(self.differences), 'release')}. {_own_flags(self.release)}"
        )


@dataclass
class UnrecordedFactor(ArgsProblem):
    """The args do not record which rope scaling factor a training applied."""

    factor: Any

    def text(self, option: OptionFormat) -> str:
        return (
            f"the args contain rope_scaling_factor={self.factor}, which Megatron-LM's scripts ignore, and do not record "
            "which factor the training applied"
        )


@dataclass
class UnsafeFlags(ArgsProblem):
    """Flags contain characters that a shell changes."""

    flags: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        return f"a shell changes characters of these flags: {shlex.join(self.flags)}"


@dataclass(eq=False)
class ShellPathError(ReleaseError):
    """A path contains characters that a shell changes."""

    path: Path

    def text(self, option: OptionFormat) -> str:
        return (
            f"{shlex.quote(str(self.path))} needs shell quoting, which $(...) does not preserve. Pass "
            f"{option('format')} yaml or {option('json')}, or move the checkpoint directory."
        )


def _own_flags(release: Path) -> str:
    return f"Start Megatron-LM with flags of your own; those of the release are in {release / FLAGS_FILE}."


@dataclass(eq=False)
class NoReleaseError(ReleaseError):
    """A checkpoint directory contains no release for a logit check."""

    root: Path

    def text(self, option: OptionFormat) -> str:
        return f"{self.root} contains no release. To convert an import, run: {command_line('repair', self.root)}"


@dataclass(eq=False)
class RejectedReleaseError(ReleaseError):
    """Megatron-LM rejects the flags or the tensors of a release."""

    folder: Path
    reason: str

    def text(self, option: OptionFormat) -> str:
        return join_sentences(self.reason, _rewrite_advice(self.folder, FLAGS_FILE))


@dataclass(eq=False)
class ContradictingArgsError(ReleaseError):
    """The args and the flags of a release differ."""

    folder: Path
    name: str
    value: Any
    flag: Any

    def text(self, option: OptionFormat) -> str:
        return (
            f"{self.folder}: args.{self.name} is {self.value!r} in {COMMON_STATE}, {self.flag!r} by the flags in "
            f"{FLAGS_FILE}. {_rewrite_advice(self.folder, COMMON_STATE, FLAGS_FILE)}"
        )


def _rewrite_advice(folder: Path, *names: str) -> str:
    # A repair keeps undamaged files, whatever their content.
    files = " and ".join(str(folder / name) for name in names)
    return f"Move {files} away, then run: {command_line('repair', folder.parent)}"


@dataclass(eq=False)
class SizeMismatchError(ReleaseError):
    """The flags of a release imply another size than the model has."""

    file: Path
    size: Literal["layers", "vocabulary"]
    value: int
    hf_model: str
    expected: int

    def text(self, option: OptionFormat) -> str:
        counts = {
            "layers": (f"{self.value} layers", self.expected),
            "vocabulary": (f"a vocabulary of {self.value}", self.expected),
        }
        declared, expected = counts[self.size]
        return f"{self.file} declares {declared}; {self.hf_model} has {expected}. Pass the source model."


@dataclass(eq=False)
class ModelTensorsError(ReleaseError):
    """A model lacks tensors that its config implies, or has them in other shapes."""

    hf_model: str
    kind: Literal["missing", "mismatched"]
    names: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        problem = "Missing tensors" if self.kind == "missing" else "Shape mismatch with config.json"
        return f"{problem} in {self.hf_model}: {list_first(self.names)}. Pass the source model of the release."


@dataclass(eq=False)
class IndexMetadataError(ReleaseError):
    """An index of safetensors has no metadata, which transformers requires."""

    index: Path

    def text(self, option: OptionFormat) -> str:
        return f'{self.index} has no "metadata", which transformers requires. Add "metadata": {{}} to it.'


@dataclass(eq=False)
class MissingParametersError(ReleaseError):
    """A checkpoint lacks parameters of a model."""

    folder: Path
    names: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        return (
            f"Different architecture: {self.folder} does not contain the parameters {summarize_names(self.names)}. Pass the "
            "source model."
        )


@dataclass(eq=False)
class ParameterShapesError(ReleaseError):
    """Parameters of a checkpoint have other shapes than a model's.

    Attributes:
        shapes: Shape and expected shape of each.
        total: Number of the model's parameters.
    """

    folder: Path
    hf_model: str
    shapes: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]
    total: int

    def text(self, option: OptionFormat) -> str:
        name, (shape, expected) = next(iter(self.shapes.items()))
        return (
            f"Shape mismatch in {len(self.shapes)} of {self.total} parameters: {name} is {list(shape)} in {self.folder}, "
            f"{self.hf_model} implies {list(expected)}. Pass the source model."
        )


@dataclass(eq=False)
class UnreadableTensorsError(ReleaseError):
    """Megatron Core cannot read tensors of a checkpoint."""

    folder: Path
    reason: str

    def text(self, option: OptionFormat) -> str:
        return f"{self.folder} cannot be read: {self.reason}. For details, run: {command_line('check', self.folder.parent)}"
