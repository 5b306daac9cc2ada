# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Checks every tensor of a Hugging Face model, and every parameter of Megatron's, before any weight is read.

Megatron's model is built on the meta device, and each parameter's own conversion runs on tensors that have the types
and shapes of the files' headers and no values. This finds the tensors that a conversion reads, and the shapes of its
results, including those that a model's bridge renames, fuses or dequantizes.
"""

import fnmatch
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from megatron.core.process_groups_config import ProcessGroupCollection
from megatron.core.utils import unwrap_model

from megatron.bridge.models.conversion.param_mapping import GatedMLPMapping
from megatron.bridge.models.conversion.utils import persistent_buffers
from megatron.bridge.models.hf_pretrained.state import StateDict
from megatron.bridge.release.compat.bridge_api import (
    architecture_bridge,
    finds_tensors_itself,
    is_expert_of_group,
    shares_embeddings,
)
from megatron.bridge.release.compat.torch_api import is_modified, storage_id
from megatron.bridge.release.compat.transformers_api import ignored_weight_patterns
from megatron.bridge.release.source.dtypes import FLOAT_DTYPES, TORCH_DTYPES
from megatron.bridge.release.source.meta_tensors import MetaTensorSource
from megatron.bridge.release.source.safetensors_index import TensorInfo
from megatron.bridge.release.validation.meta_model import build_on_meta
from megatron.bridge.release.validation.model_errors import (
    MissingTensorsProblem,
    ModelBuildError,
    NeedsCudaError,
    NotQuantizedProblem,
    QuantizationProblem,
    ShapeProblem,
    TensorDtypeProblem,
    TensorProblem,
    UnexpectedTensorsProblem,
    UnmappedParametersProblem,
)
from megatron.bridge.release.validation.tensor_hints import (
    explain_missing,
    explain_shapes,
    explain_unexpected,
    is_unquantized_despite_config,
    quantization_method,
)
from megatron.bridge.utils.single_process import local_groups
from megatron.bridge.utils.te_requirements import has_transformer_engine, te_install_hint


# Rotary tables are computed from the config; both sides ignore values in the files.
_ROTARY_TABLE = re.compile(r"(?:^|\.)rotary_(?:pos_)?emb\.(?:inv_freq|cos_cached|sin_cached)$")

# Block size that Bridge's dequantization assumes; values beyond the last whole block stay uninitialized.
_FP8_BLOCK = 128


@dataclass
class TensorCoverage:
    """Result of the tensor check of a model.

    Attributes:
        problems: The problems; the model can be imported if there are none.
        used: Names of the tensors that a conversion reads.
        reads: Number of reads of each of them. A tensor of all experts is read once for all.
        value_dependent: Tensors whose number of reads is unknown, because their conversion depends on their values.
        float32: Names of the tensors whose parameters are float32 at any dtype of the model.
        passthrough: By parameter, the tensors that it consists of: the conversion returns one, or concatenates two.
        tied: Tensors that must equal another one, with its name.
        unused: Names of the tensors that no conversion reads.
        skipped: Names of the unused tensors that the user allowed to skip.
    """

    problems: list[TensorProblem] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    reads: Counter[str] = field(default_factory=Counter)
    value_dependent: set[str] = field(default_factory=set)
    float32: set[str] = field(default_factory=set)
    passthrough: dict[str, list[str]] = field(default_factory=dict)
    tied: dict[str, str] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def check_tensors(bridge: Any, headers: Mapping[str, TensorInfo], allow_unused: Sequence[str] = ()) -> TensorCoverage:
    """Check the tensors of a Hugging Face model. Not collective: it builds the model for one rank, without memory.

    Args:
        bridge: The `AutoBridge` of the model.
        headers: Headers of its tensors.
        allow_unused: Patterns, as of `fnmatch`, of unused tensors to skip.

    Raises:
        RuntimeError: If this host cannot build the model, without Transformer Engine or CUDA.
        ModelBuildError: If Megatron-Bridge cannot build a model from the config.
    """
    coverage = TensorCoverage()
    with local_groups() as groups:
        provider, model = _build(bridge, groups)
        model_bridge = model_bridge_of(bridge)
        sources = sources_of(model_bridge, model)
        unmapped = [name for name, source in sources.items() if source is None]
        expected = {name for source in sources.values() if source is not None for name in source}
        missing = sorted(expected - headers.keys())
        if not unmapped and not missing:
            # Bridge omits parameters without a source from these tasks.
            tasks = model_bridge.build_conversion_tasks(bridge.hf_pretrained, [model])
            _Conversions(model_bridge, headers, coverage).check(tasks, expected)
        else:
            coverage.used = expected & headers.keys()
        coverage.tied = _tied_names(model_bridge, provider, headers)
    config = bridge.hf_pretrained.config
    unused = [name for name in headers if name not in coverage.used and name not in coverage.tied]
    unused = [name for name in unused if not is_ignored(name, config)]
    coverage.skipped = [name for name in unused if any(fnmatch.fnmatchcase(name, each) for each in allow_unused)]
    skipped = set(coverage.skipped)
    coverage.unused = unused = [name for name in unused if name not in skipped]
    if unmapped:
        coverage.problems.append(UnmappedParametersProblem(tuple(unmapped), has_transformer_engine()))
    if is_unquantized_despite_config(config, [headers[name] for name in coverage.used]):
        coverage.problems.append(NotQuantizedProblem(str(quantization_method(config))))
    if missing:
        hint = explain_missing(missing, unused, headers, config)
        coverage.problems.append(MissingTensorsProblem(tuple(missing), hint))
    if unused:
        hint = explain_unexpected(unused, missing, headers, config)
        coverage.problems.append(UnexpectedTensorsProblem(tuple(unused), hint))
    return coverage


def _build(bridge: Any, groups: ProcessGroupCollection) -> tuple[Any, torch.nn.Module]:
    """Build Megatron's model from a config, without memory."""
    with model_build_errors(bridge.hf_pretrained.model_name_or_path):
        provider = bridge.to_megatron_provider(load_weights=False)
        provider.finalize()
        (model,) = unwrap_model(build_on_meta(provider, groups))
        return provider, model


@contextmanager
def model_build_errors(name: str) -> Iterator[None]:
    """Turn errors of Megatron-Bridge and Megatron Core into one that names the model."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if not torch.cuda.is_available() and ("NVIDIA driver" in reason or "CUDA" in reason):
            raise NeedsCudaError(name, reason) from error
        raise ModelBuildError(name, reason, None if has_transformer_engine() else te_install_hint()) from error


def model_bridge_of(bridge: Any) -> Any:
    """Return the model bridge of an `AutoBridge`, with the model and its files, as for loading weights."""
    model_bridge = architecture_bridge(bridge)
    model_bridge.hf_pretrained, model_bridge.hf_config = bridge.hf_pretrained, bridge.hf_pretrained.config
    return model_bridge


def sources_of(model_bridge: Any, model: torch.nn.Module) -> dict[str, list[str] | None]:
    """Return the tensors that each parameter's mapping reads; None if there is no mapping."""
    registry = model_bridge.mapping_registry()
    sources: dict[str, list[str] | None] = {}
    for name, _ in (*model.named_parameters(), *persistent_buffers(model)):
        if "_extra_state" in name:
            continue
        mapping = registry.megatron_to_hf_lookup(name)
        if mapping is None:
            sources[name] = None
        elif finds_tensors_itself(mapping):
            # The mapping finds its tensors when they are read.
            sources[name] = []
        else:
            sources[name] = tensors_of(mapping)
    return sources


def tensors_of(mapping: Any) -> list[str]:
    """Return the names of the tensors that a mapping reads."""
    return [mapping.hf_param] if isinstance(mapping.hf_param, str) else list(mapping.hf_param.values())


def group_of(mapping: Any) -> str:
    """Return the name of the tensor of all experts that a mapping reads one expert from; else an empty string."""
    return str(mapping.hf_param) if is_expert_of_group(mapping) else ""


def _tied_names(model_bridge: Any, provider: Any, headers: Mapping[str, TensorInfo]) -> dict[str, str]:
    """Return the output layer and the embedding if the model ties them and the files contain both."""
    if not shares_embeddings(model_bridge, provider):
        return {}
    registry = model_bridge.mapping_registry()
    embedding = registry.megatron_to_hf_lookup("embedding.word_embeddings.weight")
    output = registry.megatron_to_hf_lookup("output_layer.weight")
    if embedding is None or output is None or output.hf_param == embedding.hf_param:
        return {}
    both = output.hf_param in headers and embedding.hf_param in headers
    return {output.hf_param: embedding.hf_param} if both else {}


def is_ignored(name: str, config: Any) -> bool:
    """Return whether a tensor is a rotary table, or is ignored by the model's class in transformers."""
    if _ROTARY_TABLE.search(name):
        return True
    for architecture in getattr(config, "architectures", None) or []:
        if any(re.search(pattern, name) for pattern in ignored_weight_patterns(architecture)):
            return True
    return False


class _Conversions:
    """Runs the conversions of the parameters of a model on headers."""

    def __init__(self, model_bridge: Any, headers: Mapping[str, TensorInfo], coverage: TensorCoverage) -> None:
        self._bridge, self._headers, self._coverage = model_bridge, headers, coverage
        self._source = MetaTensorSource(headers)
        self._state = StateDict(self._source)
        self._misshapen: dict[str, list[str]] = {}
        self._expected: dict[str, tuple[int, ...]] = {}
        self._quantized: list[str] = []
        self._groups: set[str] = set()

    def check(self, tasks: list[Any], expected: set[str]) -> None:
        """Run them. Add the tensors that they read, and the problems, to the coverage."""
        unsupported = sorted(name for name in expected if self._headers[name].dtype not in TORCH_DTYPES)
        if unsupported:
            dtypes = sorted({self._headers[name].dtype for name in unsupported})
            self._coverage.problems.append(TensorDtypeProblem(tuple(unsupported), tuple(dtypes)))
            self._coverage.used.update(expected)
            return
        for task in tasks:
            if task is not None and task.megatron_module is not None:
                self._check_task(task)
        problems = self._coverage.problems
        if self._misshapen:
            misshapen = [name for names in self._misshapen.values() for name in names]
            hint = explain_shapes(misshapen, self._expected, self._headers, self._bridge.hf_config)
            problems.append(ShapeProblem({what: tuple(names) for what, names in self._misshapen.items()}, hint))
        if self._quantized:
            problems.append(QuantizationProblem(tuple(self._quantized), quantization_method(self._bridge.hf_config)))

    def _check_task(self, task: Any) -> None:
        self._source.read = []
        names = tensors_of(task.mapping)
        if self._has_other_shapes(task):
            self._coverage.used.update(names)
            return
        try:
            weights = self._bridge.maybe_modify_loaded_hf_weight(task.mapping.hf_param, self._state)
            converted = task.mapping.hf_to_megatron(weights, task.megatron_module)
        except NotImplementedError:
            # The conversion depends on values, which meta tensors do not have. Count its tensors as used.
            self._coverage.used.update(names, self._read)
            self._coverage.value_dependent.update(names, self._read)
            return
        except KeyError as error:
            self._coverage.problems.append(
                MissingTensorsProblem((str(error.args[0]),), f"{task.param_name} requires it.")
            )
            return
        except (RuntimeError, ValueError, AssertionError, AttributeError, TypeError) as error:
            # An assertion may have no message.
            reason = " ".join(str(error).split()) or type(error).__name__
            self._misshapen.setdefault(f"cannot be converted ({reason})", []).extend(names)
            self._coverage.used.update(names)
            return
        read = self._read
        self._coverage.used.update(read)
        if task.param_weight.dtype is torch.float32:
            self._coverage.float32.update(read)
        group = group_of(task.mapping)
        if group not in self._groups:
            self._coverage.reads.update(read)
        self._groups.update([group] if group else [])
        if any(not self._is_dequantized(name, read) for name in read) or any(
            weight.dtype not in FLOAT_DTYPES
            for weight in (weights.values() if isinstance(weights, dict) else [weights])
        ):
            self._quantized.extend(
                name for name in read if TORCH_DTYPES[self._headers[name].dtype] not in FLOAT_DTYPES
            )
        elif converted.shape != task.param_weight.shape:
            what = f"convert to {list(converted.shape)}, {task.param_name} is {list(task.param_weight.shape)}"
            self._misshapen.setdefault(what, []).extend(names)
        else:
            self._coverage.passthrough[task.param_name] = _passthrough(
                task.mapping, weights, converted, self._source.read
            )

    @property
    def _read(self) -> list[str]:
        return [name for name, _ in self._source.read]

    def _has_other_shapes(self, task: Any) -> bool:
        """Compare each tensor with the shape that an export of the parameter has."""
        if group_of(task.mapping):
            # An export returns one expert of the tensor.
            return False
        try:
            exported = task.mapping.megatron_to_hf(task.param_weight, task.megatron_module)
        except Exception:
            # Some mappings cannot export meta tensors. Their import is checked anyway.
            return False
        differs = False
        for name, tensor in exported.items():
            header = self._headers.get(name)
            if (
                header is not None
                and TORCH_DTYPES[header.dtype] in FLOAT_DTYPES
                and header.shape != tuple(tensor.shape)
            ):
                what = f"is {list(header.shape)}, config.json implies {list(tensor.shape)}"
                self._misshapen.setdefault(what, []).append(name)
                self._expected[name] = tuple(tensor.shape)
                differs = True
        return differs

    def _is_dequantized(self, name: str, read: list[str]) -> bool:
        """Return whether a tensor is not quantized, or was read together with its scales."""
        header = self._headers[name]
        if TORCH_DTYPES[header.dtype] in FLOAT_DTYPES or "scale" in name:
            return True
        module = name.rpartition(".")[0]
        scales = [other for other in read if other.startswith(f"{module}.") and "scale" in other]
        if f"{name}_scale_inv" in scales:
            return self._headers[f"{name}_scale_inv"].shape == tuple(math.ceil(n / _FP8_BLOCK) for n in header.shape)
        return bool(scales)


def _passthrough(
    mapping: Any, weights: Any, converted: torch.Tensor, read: Sequence[tuple[str, torch.Tensor]]
) -> list[str]:
    """Return the tensors whose concatenated bytes are the result of a conversion; an empty list if it changes bytes."""
    if any(is_modified(tensor) for _, tensor in read):
        # Modified in place: no longer identical to the bytes of the file.
        return []
    if len(read) == 1:
        name, tensor = read[0]
        same = storage_id(converted) == storage_id(tensor) and converted.is_contiguous()
        return [name] if same and (converted.numel(), converted.storage_offset()) == (tensor.numel(), 0) else []
    if type(mapping) is GatedMLPMapping and isinstance(weights, dict):
        # On one rank, it concatenates the two along the first axis.
        joined = [name for half in ("gate", "up") for name, tensor in read if tensor is weights.get(half)]
        if len(joined) == len(read) == 2 and converted.numel() == sum(tensor.numel() for _, tensor in read):
            return joined
    return []
