# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

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
from dataclasses import dataclass, field, fields
from typing import Any, get_type_hints

import torch
import torch.distributed as dist
import transformers
from megatron.core.process_groups_config import ProcessGroupCollection
from megatron.core.utils import unwrap_model

from megatron.bridge.models.conversion.param_mapping import GatedMLPMapping
from megatron.bridge.models.conversion.utils import persistent_buffers
from megatron.bridge.models.hf_pretrained.state import StateDict
from megatron.bridge.release.source.meta_tensors import DTYPES, PLAIN, MetaSource
from megatron.bridge.release.source.safetensors_index import Header
from megatron.bridge.release.text import grouped
from megatron.bridge.release.validation.meta_model import build_on_meta
from megatron.bridge.release.validation.tensor_hints import (
    cause_of_missing,
    cause_of_shapes,
    cause_of_unused,
    plain_under_quantization,
    quantization_method,
)
from megatron.bridge.utils.transformer_engine_need import NeedsTransformerEngine, has_transformer_engine, remedy


# Computed of the config, by transformers and by Megatron Core: what a file holds of it is not read by either.
_ROTARY_TABLE = re.compile(r"(?:^|\.)rotary_(?:pos_)?emb\.(?:inv_freq|cos_cached|sin_cached)$")

# Bridge's dequantization of blocks takes this size, whatever the model says, and leaves what lies beyond uninitialized.
_FP8_BLOCK = 128


@dataclass
class TensorCoverage:
    """Result of the tensor check of a model.

    Attributes:
        problems: Problems, a sentence or two each; the model can be imported if there are none.
        used: Names of the tensors that a conversion reads.
        reads: How often each of them is read; of a tensor of all experts, once for all.
        value_dependent: Tensors of which that is not known, because the conversion depends on their values.
        passthrough: By the names of parameters, the tensors whose values they are, one after the other: where a conversion
            hands on its tensor, or joins two along their first axis.
        tied: Names of tensors that must be equal to another's, by that other's name.
        unused: Names of the tensors that no conversion reads.
        skipped: Names of the unused tensors that match the caller's patterns.
    """

    problems: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    reads: Counter[str] = field(default_factory=Counter)
    value_dependent: set[str] = field(default_factory=set)
    passthrough: dict[str, list[str]] = field(default_factory=dict)
    tied: dict[str, str] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def check_tensors(bridge: Any, headers: Mapping[str, Header], allow_unused: Sequence[str] = ()) -> TensorCoverage:
    """TensorCoverage for the tensors of a Hugging Face model.

    Works in any process, whatever its process groups: what it builds is for one rank, and has no memory of its own.

    Args:
        bridge: The `AutoBridge` of the model.
        headers: What the model's files say of each tensor.
        allow_unused: Patterns, as of `fnmatch`, of tensors that may go unused.

    Returns:
        The coverage.

    Raises:
        RuntimeError: If the model cannot be built here, for want of Transformer Engine or CUDA.
        ValueError: If Megatron's model cannot be built of the config.
    """
    coverage = TensorCoverage()
    with _alone() as groups:
        provider, model = _build(bridge, groups)
        model_bridge = model_bridge_of(bridge)
        sources = sources_of(model_bridge, model)
        unmapped = [name for name, source in sources.items() if source is None]
        wanted = {name for source in sources.values() if source is not None for name in source}
        missing = sorted(wanted - headers.keys())
        if not unmapped and not missing:
            # Bridge's own list of what is converted, which leaves out what has no source.
            tasks = model_bridge.build_conversion_tasks(bridge.hf_pretrained, [model])
            _Conversions(model_bridge, headers, coverage).check(tasks, wanted)
        else:
            coverage.used = wanted & headers.keys()
        coverage.tied = _tied_names(model_bridge, provider, headers)
    config = bridge.hf_pretrained.config
    unused = [name for name in headers if name not in coverage.used and name not in coverage.tied]
    unused = [name for name in unused if not is_ignored(name, config)]
    coverage.skipped = [name for name in unused if any(fnmatch.fnmatchcase(name, one) for one in allow_unused)]
    skipped = set(coverage.skipped)
    coverage.unused = unused = [name for name in unused if name not in skipped]
    if unmapped:
        coverage.problems.append(
            f"Megatron-Bridge maps no tensor to Megatron's parameters {grouped(unmapped)}, which the config requires."
            + (
                ""
                if has_transformer_engine()
                else " Transformer Engine's modules may have others: try a host with it."
            )
        )
    if quantized := plain_under_quantization(config, [headers[name] for name in coverage.used]):
        coverage.problems.append(quantized)
    if missing:
        coverage.problems.append(
            f"Missing tensors: {grouped(missing)}. {cause_of_missing(missing, unused, headers, config)}"
        )
    if unused:
        cause = cause_of_unused(unused, missing, headers, config)
        coverage.problems.append(f"Unexpected tensors: {grouped(unused)}. {cause}".rstrip())
    return coverage


@contextmanager
def _alone() -> Iterator[ProcessGroupCollection]:
    """Make process groups of this process alone, beside the existing ones."""
    started = not dist.is_initialized()
    if started:
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)  # type: ignore[attr-defined,unused-ignore]
    try:
        group = dist.new_group([dist.get_rank()], backend="gloo", use_local_synchronization=True)
        try:
            types = get_type_hints(ProcessGroupCollection)
            names = [one.name for one in fields(ProcessGroupCollection) if types[one.name] is dist.ProcessGroup]
            yield ProcessGroupCollection(**dict.fromkeys(names, group))
        finally:
            dist.destroy_process_group(group)
    finally:
        if started:
            dist.destroy_process_group()


def _build(bridge: Any, groups: ProcessGroupCollection) -> tuple[Any, torch.nn.Module]:
    """Build Megatron's model of a config, without memory."""
    with explained(bridge.hf_pretrained.model_name_or_path):
        provider = bridge.to_megatron_provider(load_weights=False)
        provider.finalize()
        (model,) = unwrap_model(build_on_meta(provider, groups))
        return provider, model


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn whatever Megatron-Bridge or Megatron Core raises into one line that names the model.

    Args:
        name: Name of the model, for the line.
    """
    try:
        yield
    except NeedsTransformerEngine:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if not torch.cuda.is_available() and ("NVIDIA driver" in reason or "CUDA" in reason):
            raise RuntimeError(
                f"{name} cannot be built without CUDA ({reason}). Convert it on a host with a GPU."
            ) from error
        raise ValueError(
            f"Megatron-Bridge builds no model of the config of {name}: {reason}. Is a field of it wrong?"
            + ("" if has_transformer_engine() else f" Or does the model need Transformer Engine? {remedy()}")
        ) from error


def model_bridge_of(bridge: Any) -> Any:
    """Return the bridge of a model's architecture as a load has it, with the model and its files.

    Args:
        bridge: The `AutoBridge` of the model, whose own property gives one with the config alone.
    """
    model_bridge = bridge._model_bridge
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
        elif mapping.allow_hf_name_mismatch:
            # It finds its tensors itself, when they are read.
            sources[name] = []
        else:
            sources[name] = tensors_of(mapping)
    return sources


def tensors_of(mapping: Any) -> list[str]:
    """Return the names of the tensors that a mapping reads."""
    return [mapping.hf_param] if isinstance(mapping.hf_param, str) else list(mapping.hf_param.values())


def group_of(mapping: Any) -> str:
    """Return the name of the tensor of all experts from which a mapping takes one; empty for any other mapping."""
    return str(mapping.hf_param) if getattr(mapping, "is_grouped_export", False) else ""


def _tied_names(model_bridge: Any, provider: Any, headers: Mapping[str, Header]) -> dict[str, str]:
    """Return the output layer's tensor, where the embedding stands for it and the files hold both."""
    if not model_bridge._share_embeddings_and_output_weights(provider):
        return {}
    registry = model_bridge.mapping_registry()
    embedding = registry.megatron_to_hf_lookup("embedding.word_embeddings.weight")
    output = registry.megatron_to_hf_lookup("output_layer.weight")
    if embedding is None or output is None or output.hf_param == embedding.hf_param:
        return {}
    both = output.hf_param in headers and embedding.hf_param in headers
    return {output.hf_param: embedding.hf_param} if both else {}


def is_ignored(name: str, config: Any) -> bool:
    """Return whether a model does without one of its files' tensors.

    Args:
        name: The tensor's name.
        config: The model's config.

    Returns:
        Whether it is a rotary table, or one that the model's own class in transformers says to ignore.
    """
    if _ROTARY_TABLE.search(name):
        return True
    for architecture in getattr(config, "architectures", None) or []:
        patterns = getattr(getattr(transformers, architecture, None), "_keys_to_ignore_on_load_unexpected", None)
        if any(re.search(pattern, name) for pattern in patterns or ()):
            return True
    return False


class _Conversions:
    """Runs the conversions of a model's parameters on headers."""

    def __init__(self, model_bridge: Any, headers: Mapping[str, Header], coverage: TensorCoverage) -> None:
        self._bridge, self._headers, self._coverage = model_bridge, headers, coverage
        self._source = MetaSource(headers)
        self._state = StateDict(self._source)
        self._misshapen: dict[str, list[str]] = {}
        self._expected: dict[str, tuple[int, ...]] = {}
        self._raw: list[str] = []
        self._groups: set[str] = set()

    def check(self, tasks: list[Any], wanted: set[str]) -> None:
        """Run them; add what is read, and what is wrong, to the coverage."""
        unreadable = sorted(name for name in wanted if self._headers[name].dtype not in DTYPES)
        if unreadable:
            kinds = ", ".join(sorted({self._headers[name].dtype for name in unreadable}))
            self._coverage.problems.append(f"Unsupported dtype ({kinds}): {grouped(unreadable)}.")
            self._coverage.used.update(wanted)
            return
        for task in tasks:
            if task is not None and task.megatron_module is not None:
                self._check_task(task)
        problems = self._coverage.problems
        if self._misshapen:
            mismatches = "; ".join(f"{grouped(names)} {what}" for what, names in self._misshapen.items())
            misshapen = [name for names in self._misshapen.values() for name in names]
            cause = cause_of_shapes(misshapen, self._expected, self._headers, self._bridge.hf_config)
            problems.append(f"Shape mismatch: {mismatches}. {cause}")
        if self._raw:
            method = quantization_method(self._bridge.hf_config)
            problems.append(
                f"Quantized{f' ({method})' if method else ''} in a way that Megatron-Bridge does not undo for this model: "
                f"{grouped(self._raw)}. Import the model's unquantized weights."
            )

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
            # It looks at values, which there are none of: the names are accounted for, and Bridge checks the shape.
            self._coverage.used.update(names, self._read)
            self._coverage.value_dependent.update(names, self._read)
            return
        except KeyError as error:
            self._coverage.problems.append(f"Missing for {task.param_name}: {error.args[0]}.")
            return
        except (RuntimeError, ValueError, AssertionError, AttributeError, TypeError) as error:
            # An assertion may say nothing.
            reason = " ".join(str(error).split()) or type(error).__name__
            self._misshapen.setdefault(f"cannot be converted ({reason})", []).extend(names)
            self._coverage.used.update(names)
            return
        read = self._read
        self._coverage.used.update(read)
        group = group_of(task.mapping)
        if group not in self._groups:
            self._coverage.reads.update(read)
        self._groups.update([group] if group else [])
        if any(not self._is_dequantized(name, read) for name in read) or any(
            weight.dtype not in PLAIN for weight in (weights.values() if isinstance(weights, dict) else [weights])
        ):
            self._raw.extend(name for name in read if DTYPES[self._headers[name].dtype] not in PLAIN)
        elif converted.shape != task.param_weight.shape:
            what = f"make {list(converted.shape)}, {task.param_name} is {list(task.param_weight.shape)}"
            self._misshapen.setdefault(what, []).extend(names)
        else:
            self._coverage.passthrough[task.param_name] = _copied(task.mapping, weights, converted, self._source.read)

    @property
    def _read(self) -> list[str]:
        return [name for name, _ in self._source.read]

    def _has_other_shapes(self, task: Any) -> bool:
        """Compare with what an export of the parameter would give, which tells of each tensor by itself."""
        if group_of(task.mapping):
            # An export gives one expert of its tensor.
            return False
        try:
            exported = task.mapping.megatron_to_hf(task.param_weight, task.megatron_module)
        except Exception:
            # Not every mapping exports what has no values. What it imports is checked all the same.
            return False
        other = False
        for name, tensor in exported.items():
            header = self._headers.get(name)
            if header is not None and DTYPES[header.dtype] in PLAIN and header.shape != tuple(tensor.shape):
                what = f"is {list(header.shape)}, config.json implies {list(tensor.shape)}"
                self._misshapen.setdefault(what, []).append(name)
                self._expected[name] = tuple(tensor.shape)
                other = True
        return other

    def _is_dequantized(self, name: str, read: list[str]) -> bool:
        """Return whether a tensor is plain, or was read together with the scales that it needs."""
        header = self._headers[name]
        if DTYPES[header.dtype] in PLAIN or "scale" in name:
            return True
        module = name.rpartition(".")[0]
        scales = [other for other in read if other.startswith(f"{module}.") and "scale" in other]
        if f"{name}_scale_inv" in scales:
            return self._headers[f"{name}_scale_inv"].shape == tuple(math.ceil(n / _FP8_BLOCK) for n in header.shape)
        return bool(scales)


def _copied(
    mapping: Any, weights: Any, converted: torch.Tensor, read: Sequence[tuple[str, torch.Tensor]]
) -> list[str]:
    """Return the tensors whose bytes, one after the other, are a conversion's result; none where it makes other bytes."""
    if any(tensor._version for _, tensor in read):
        # Changed in its place, it is no longer what the file holds.
        return []
    if len(read) == 1:
        name, tensor = read[0]
        same = converted.untyped_storage()._cdata == tensor.untyped_storage()._cdata and converted.is_contiguous()
        return [name] if same and (converted.numel(), converted.storage_offset()) == (tensor.numel(), 0) else []
    if type(mapping) is GatedMLPMapping and isinstance(weights, dict):
        # It joins the two along their first axis, where there is one rank.
        joined = [name for half in ("gate", "up") for name, tensor in read if tensor is weights.get(half)]
        if len(joined) == len(read) == 2 and converted.numel() == sum(tensor.numel() for _, tensor in read):
            return joined
    return []
