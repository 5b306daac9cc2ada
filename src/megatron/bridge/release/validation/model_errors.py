# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Errors and warnings about the content of a model: its tensors and its config.

Importing this module imports neither torch nor Megatron Core.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from megatron.bridge.release.errors import OptionFormat, ReleaseError, ReleaseWarning, error_text
from megatron.bridge.release.text import summarize_names


@dataclass(eq=False)
class UnsupportedConfigError(ReleaseError):
    """Megatron-LM cannot compute the function that a config describes.

    Attributes:
        model: Name of the model.
        problems: The config fields that are not supported, with their values.
        other: Another error of the model, which ignoring the fields would lead to.
    """

    model: str
    problems: tuple[str, ...]
    other: Exception | None = None

    def text(self, option: OptionFormat) -> str:
        advice = f"To ignore the value of a field, pass {option('allow_config_fields')}."
        if self.other is not None:
            advice = error_text(self.other, option)
        return f"Megatron-LM cannot reproduce {self.model}: {' '.join(self.problems)} {advice}"


class TensorProblem(ReleaseError):
    """Base of the problems with the tensors of a model, which a `TensorMismatchError` lists."""


@dataclass(unsafe_hash=True)
class UnmappedParametersProblem(TensorProblem):
    """No Hugging Face tensor is converted to parameters that the config implies.

    Attributes:
        names: Names of Megatron's parameters.
        has_transformer_engine: Whether Transformer Engine is installed.
    """

    names: tuple[str, ...]
    has_transformer_engine: bool

    def text(self, option: OptionFormat) -> str:
        hint = (
            ""
            if self.has_transformer_engine
            else " Names can differ with Transformer Engine. Retry where it is installed."
        )
        return f"Megatron-Bridge converts no tensor to these parameters: {summarize_names(self.names)}.{hint}"


@dataclass(unsafe_hash=True)
class NotQuantizedProblem(TensorProblem):
    """A config declares quantized weights, but the weights are not quantized."""

    method: str

    def text(self, option: OptionFormat) -> str:
        return (
            f"config.json has a quantization_config ({self.method}), but the weights are not quantized, so transformers would not "
            "load them. If these are the unquantized weights, remove quantization_config."
        )


@dataclass(unsafe_hash=True)
class MissingTensorsProblem(TensorProblem):
    """Tensors that the config implies are missing."""

    names: tuple[str, ...]
    hint: str

    def text(self, option: OptionFormat) -> str:
        return f"Missing tensors: {summarize_names(self.names)}. {self.hint}"


@dataclass(unsafe_hash=True)
class UnexpectedTensorsProblem(TensorProblem):
    """No parameter is converted from tensors of the model."""

    names: tuple[str, ...]
    hint: str

    def text(self, option: OptionFormat) -> str:
        return f"Unexpected tensors: {summarize_names(self.names)}. {self.hint}".rstrip()


@dataclass(unsafe_hash=True)
class TensorDtypeProblem(TensorProblem):
    """Tensors have a dtype that Megatron-Bridge does not support."""

    names: tuple[str, ...]
    dtypes: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        return f"Unsupported dtype ({', '.join(self.dtypes)}): {summarize_names(self.names)}."


@dataclass(unsafe_hash=True)
class ShapeProblem(TensorProblem):
    """Tensors have other shapes than the config implies.

    Attributes:
        names: Names of the tensors, by the mismatch.
        hint: What the reason may be.
    """

    names: Mapping[str, tuple[str, ...]]
    hint: str

    def text(self, option: OptionFormat) -> str:
        mismatches = "; ".join(f"{summarize_names(names)} {mismatch}" for mismatch, names in self.names.items())
        return f"Shape mismatch: {mismatches}. {self.hint}"


@dataclass(unsafe_hash=True)
class QuantizationProblem(TensorProblem):
    """Megatron-Bridge does not support the quantization of tensors."""

    names: tuple[str, ...]
    method: str | None

    def text(self, option: OptionFormat) -> str:
        method = f" ({self.method})" if self.method is not None else ""
        return f"Unsupported quantization{method}: {summarize_names(self.names)}. Import the unquantized weights of the model."


@dataclass(unsafe_hash=True)
class TiedOutputProblem(TensorProblem):
    """The config ties the output layer to the embedding, but the two differ."""

    name: str
    embedding: str

    def text(self, option: OptionFormat) -> str:
        return (
            f"config.json sets tie_word_embeddings to true, but {self.name} differs from {self.embedding}. Set it to false, or "
            "remove the tensor that the model does not use."
        )


@dataclass(eq=False)
class TensorMismatchError(ReleaseError):
    """The tensors of a model are not those that its config implies."""

    model: str
    problems: tuple[TensorProblem, ...]

    def text(self, option: OptionFormat) -> str:
        text = f"Cannot import {self.model}. {' '.join(problem.text(option) for problem in self.problems)}"
        if len(self.problems) == 1 and isinstance(self.problems[0], UnexpectedTensorsProblem):
            return f"{text} To skip tensors, pass {option('allow_unused_tensors')}."
        return text


@dataclass(eq=False)
class WaivedConfigWarning(ReleaseWarning):
    """A release ignores config fields, as the user requested."""

    model: str
    problems: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        return f"Megatron-LM computes another function than {self.model}: {' '.join(self.problems)}"


@dataclass(eq=False)
class SkippedTensorsWarning(ReleaseWarning):
    """A release does not contain tensors of its source model, as the user requested."""

    model: str
    names: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        return f"Skipped tensors of {self.model}: {summarize_names(self.names)}."


@dataclass(eq=False)
class UnknownFieldsWarning(ReleaseWarning):
    """A config has fields that this version does not know."""

    model: str
    fields: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        fields = ", ".join(self.fields)
        return f"Unknown fields of the config of {self.model}, which the release may not support: {fields}"


@dataclass(eq=False)
class CastWarning(ReleaseWarning):
    """Tensors are cast to a narrower dtype.

    Attributes:
        counts: Number of tensors to cast, by dtype.
        total: Number of all tensors.
        dtype: Dtype of the release.
    """

    counts: Mapping[str, int]
    total: int
    dtype: str

    def text(self, option: OptionFormat) -> str:
        counts = " and ".join(f"{count} of {self.total} tensors from {dtype}" for dtype, count in self.counts.items())
        return f"Casting {counts} to {self.dtype}, the dtype of the release."


@dataclass(eq=False)
class NonFiniteError(ReleaseError):
    """A tensor contains NaN or Inf.

    Attributes:
        key: Its key in the checkpoint.
        value: What it contains.
        dtype: Its dtype in the checkpoint.
    """

    key: str
    value: Literal["NaN", "Inf"]
    dtype: str

    def text(self, option: OptionFormat) -> str:
        if self.value == "NaN":
            return f"{self.key} contains NaN: the weights may be corrupt, or were never loaded. Check them, or download the model again."
        return f"{self.key} contains Inf in {self.dtype}. Use a wider dtype, or fix the weights."


@dataclass(eq=False)
class NestedConfigError(ReleaseError):
    """A config contains a nested text config that models of its type do not have."""

    model: str
    model_type: str

    def text(self, option: OptionFormat) -> str:
        return (
            f"The config of {self.model} contains a nested text config, which {self.model_type} models do not have; transformers "
            "would read it instead of the model's values. Remove it from config.json."
        )


@dataclass(eq=False)
class HeadSizeError(ReleaseError):
    """Rotary embeddings require an even head size."""

    model: str
    size: int

    def text(self, option: OptionFormat) -> str:
        return (
            f"The config of {self.model} implies heads of size {self.size}, but rotary embeddings require an even size. Correct "
            "head_dim, hidden_size or num_attention_heads; they may belong to a different model."
        )


@dataclass(eq=False)
class PadTokenError(ReleaseError):
    """The padding token has no row in the embedding."""

    model: str
    token: int
    rows: int

    def text(self, option: OptionFormat) -> str:
        return (
            f"The config of {self.model} sets pad_token_id to {self.token}, outside of the vocabulary (vocab_size {self.rows}). "
            "Set it to null, or to the padding token of the tokenizer."
        )


@dataclass(eq=False)
class ModelBuildError(ReleaseError):
    """Megatron-Bridge cannot build a model from a config.

    Attributes:
        model: Name of the model.
        reason: The error.
        remedy: How to install Transformer Engine, if it is missing and may be the reason.
    """

    model: str
    reason: str
    remedy: str | None

    def text(self, option: OptionFormat) -> str:
        remedy = f" The model may require Transformer Engine. {self.remedy}" if self.remedy is not None else ""
        return f"Megatron-Bridge cannot build a model from the config of {self.model}: {self.reason}. Correct the config.{remedy}"


@dataclass(eq=False)
class NeedsCudaError(ReleaseError, RuntimeError):
    """A model cannot be built on a host without CUDA."""

    model: str
    reason: str

    def text(self, option: OptionFormat) -> str:
        return f"{self.model} cannot be built without CUDA ({self.reason}). Convert it on a host with a GPU."
