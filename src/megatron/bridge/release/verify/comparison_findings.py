# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Findings of `check` from comparisons with a Hugging Face model.

Importing this module imports neither torch nor Megatron Core.
"""

from dataclasses import dataclass
from math import inf

from megatron.bridge.release.errors import OptionFormat
from megatron.bridge.release.text import summarize_names
from megatron.bridge.release.verify.findings import Finding


# Largest difference of logits, relative to the largest logit. The order of additions accounts for 9e-7 in two layers, and
# for 9e-6 in all thirty of SmolLM2, float32 against float64. A wrong epsilon or rotary base makes a thousand times as much.
TOLERANCE = 4e-5

# Linear attention amplifies the rounding of its inputs: a chunk's states are products of decays and solutions of a triangular
# system. Models of other functions differed by 1e-3 and more.
LINEAR_ATTENTION_TOLERANCE = 4e-4


@dataclass(eq=False)
class SkippedComparison(Finding):
    """The checkpoint was not compared with a model, because it has problems."""

    check: str
    hf_model: str

    def text(self, option: OptionFormat) -> str:
        return f"Skipped {option(self.check)} {self.hf_model}: fix the problems first."


@dataclass(eq=False)
class SameSourceModel(Finding):
    """The release was imported from the given model."""

    hf_model: str

    def text(self, option: OptionFormat) -> str:
        return f"{self.hf_model} matches the recorded source model."


@dataclass(eq=False)
class EqualTensors(Finding):
    """Tensors are equal to the source model's."""

    count: int
    hf_model: str

    def text(self, option: OptionFormat) -> str:
        return f"{self.count} tensors match {self.hf_model} bit for bit, after a cast to the checkpoint's dtype."


@dataclass(eq=False)
class DifferentTensor(Finding):
    """A tensor differs from the source model's."""

    name: str
    hf_model: str
    values: int
    size: int

    def text(self, option: OptionFormat) -> str:
        return f"{self.name} differs from {self.hf_model} in {self.values} of {self.size} values."


@dataclass(eq=False)
class DifferentShape(Finding):
    """A tensor has another shape than the source model's."""

    name: str
    hf_model: str
    shape: tuple[int, ...]
    expected: tuple[int, ...]

    def text(self, option: OptionFormat) -> str:
        return f"{self.name} has shape {list(self.shape)}; {self.hf_model} has {list(self.expected)}."


@dataclass(eq=False)
class DifferentTensors(Finding):
    """Many tensors differ from the source model's."""

    names: tuple[str, ...]
    total: int
    hf_model: str

    def text(self, option: OptionFormat) -> str:
        return f"{len(self.names)} of {self.total} tensors differ from {self.hf_model}: {summarize_names(self.names)}."


@dataclass(eq=False)
class UnmatchedParameters(Finding):
    """Parameters of the checkpoint correspond to no tensor of the model."""

    names: tuple[str, ...]
    hf_model: str

    def text(self, option: OptionFormat) -> str:
        return f"Parameters of the checkpoint without a tensor in {self.hf_model}: {summarize_names(self.names)}."


@dataclass(eq=False)
class UnmatchedTensors(Finding):
    """Tensors of the model correspond to no parameter of the checkpoint.

    Attributes:
        may_be_waived: Whether all parameters of the checkpoint have a tensor, so that an import may have skipped these.
    """

    names: tuple[str, ...]
    hf_model: str
    may_be_waived: bool

    def text(self, option: OptionFormat) -> str:
        waived = f" The import may have skipped them ({option('allow_unused_tensors')})." if self.may_be_waived else ""
        return (
            f"Tensors of {self.hf_model} that the checkpoint does not contain: {summarize_names(self.names)}.{waived}"
        )


@dataclass(eq=False)
class UntestedPositions(Finding):
    """The logit check was too short to test a feature."""

    feature: str
    length: int

    def text(self, option: OptionFormat) -> str:
        return f"Positions beyond the {self.feature} ({self.length}) were not tested."


@dataclass(eq=False)
class CastWeights(Finding):
    """The logit check has cast the source model's weights as the import does."""

    hf_model: str
    dtype: str

    def text(self, option: OptionFormat) -> str:
        return f"The logit check has cast the weights of {self.hf_model} to {self.dtype}, as the import does."


@dataclass(eq=False)
class LogitComparison(Finding):
    """The result of a logit check.

    Attributes:
        layers: Number of layers that were computed: the first ones.
        total_layers: Number of layers of the model.
        difference: Largest difference of the logits, relative to the largest logit; infinite if one is NaN, or if the
            check was skipped.
        top1_matches: Number of positions at which both models choose the same token.
        skipped: Why the check was skipped; None if it was not.
    """

    hf_model: str
    layers: int = 0
    total_layers: int = 0
    positions: int = 0
    difference: float = inf
    tolerance: float = TOLERANCE
    top1_matches: int = 0
    skipped: str | None = None
    notes: tuple[Finding, ...] = ()

    @property
    def matches(self) -> bool:
        """Whether the logits were compared and match."""
        return self.difference <= self.tolerance

    def text(self, option: OptionFormat) -> str:
        if self.skipped is not None:
            return f"Logit check skipped for {self.hf_model}: {self.skipped}."
        layers = "all" if self.layers == self.total_layers else f"the first {self.layers} of"
        verdict = "match" if self.matches else "differ from"
        return (
            f"Logits {verdict} {self.hf_model}: maximum relative difference {self.difference:.1e} (tolerance "
            f"{self.tolerance:.0e}), same top-1 token at {self.top1_matches} of {self.positions} positions, {layers} "
            f"{self.total_layers} layers."
        )
