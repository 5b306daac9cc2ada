# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Streams the weights of a Hugging Face model into a save: each tensor is converted when it is written.

The model is built on the meta device. An entry of its state dict is a view of a parameter, which is found by their common
storage. When the entry is written, the parameter is converted from the tensors of the source. If a mapping only returns
its tensor, or concatenates a gate and an up projection, the bytes are copied directly from the safetensors files.
"""

import functools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from megatron.core.dist_checkpointing.mapping import ShardedTensor, apply_factories
from megatron.core.utils import unwrap_model

from megatron.bridge.models.conversion.model_bridge import MegatronModelBridge
from megatron.bridge.models.conversion.utils import get_module_and_param_from_name
from megatron.bridge.models.hf_pretrained.state import SafeTensorsStateSource, StateDict, StateSource
from megatron.bridge.release.compat.bridge_api import architecture_bridge
from megatron.bridge.release.compat.megatron_core_api import MultiStorageClientFeature, nested_values
from megatron.bridge.release.compat.torch_api import storage_id
from megatron.bridge.release.source.dtypes import TORCH_DTYPES
from megatron.bridge.release.source.safetensors_reader import ByteRange, SafetensorsReader
from megatron.bridge.release.validation.fidelity import FidelityReport
from megatron.bridge.release.validation.meta_model import build_on_meta, cpu_twin
from megatron.bridge.release.validation.tensors import group_of, model_bridge_of, tensors_of
from megatron.bridge.release.write.entry_file import Payload, WorkItem
from megatron.bridge.utils.common_utils import print_rank_0


# Attribute of a model on the meta device: its weights.
_WEIGHTS = "_release_weights"


def streamed_model(bridge: Any, report: FidelityReport) -> list[Any] | None:
    """Build a Megatron model without weights, which are converted when it is saved as a release.

    Args:
        bridge: The `AutoBridge` of the Hugging Face model.
        report: Result of its checks.

    Returns:
        The model; None, with a message, if it cannot be streamed and must be loaded into memory.
    """
    model, obstacle = try_streamed_model(bridge, report)
    if model is None:
        print_rank_0(f"Streaming is not supported for this model ({obstacle}); loading it into memory first.")
    return model


def try_streamed_model(bridge: Any, report: FidelityReport) -> tuple[list[Any] | None, str]:
    """Build a model as `streamed_model`; return it, or None and why it cannot be streamed."""
    provider = bridge.to_megatron_provider(load_weights=False)
    obstacle = _obstacle(bridge, provider)
    if obstacle:
        return None, obstacle
    tasks: list[tuple[Any, torch.dtype, torch.nn.Module]] = []

    def record_tasks(models: list[Any]) -> list[Any]:
        # A load casts a tensor to the dtype that its parameter has before the model is wrapped.
        twin = functools.cache(cpu_twin)
        for task in model_bridge_of(bridge).build_conversion_tasks(bridge.hf_pretrained, unwrap_model(models)):
            if task and task.megatron_module:
                tasks.append((task, task.param_weight.dtype, twin(task.megatron_module)))
        return models

    provider.finalize()
    model = build_on_meta(provider, before_wrapping=record_tasks)
    unwrapped = unwrap_model(model)
    # Wrapping may replace buffers, such as the expert bias.
    parameters = [
        _Parameter(task, dtype, module, get_module_and_param_from_name(unwrapped, task.param_name)[1])
        for task, dtype, module in tasks
    ]
    weights = StreamedWeights(bridge, report, parameters)
    obstacle = weights.obstacle(model)
    if obstacle:
        return None, obstacle
    setattr(model[0], _WEIGHTS, weights)
    return model, ""


def weights_of(model: Sequence[Any]) -> "StreamedWeights | None":
    """Return the weights of a model that `streamed_model` has built; None for other models."""
    weights = getattr(model[0], _WEIGHTS, None) if model else None
    return weights if isinstance(weights, StreamedWeights) else None


def entries_of(module: Any, metadata: dict[str, Any] | None = None) -> list[ShardedTensor]:
    """Return the tensors of the sharded state dict of a model.

    Args:
        module: The model.
        metadata: Megatron Core's description of the checkpoint layout; its default if None.
    """
    state = module.sharded_state_dict(metadata=metadata)
    apply_factories(state)
    return [entry for entry in nested_values(state) if isinstance(entry, ShardedTensor)]


def _obstacle(bridge: Any, provider: Any) -> str:
    """Return why a model cannot be streamed, or an empty string."""
    loads = type(architecture_bridge(bridge)).load_weights_hf_to_megatron
    if loads is not MegatronModelBridge.load_weights_hf_to_megatron:
        return f"{type(architecture_bridge(bridge)).__name__} overrides the loading of weights"
    if not isinstance(bridge.hf_pretrained.state.source, SafeTensorsStateSource):
        return "its weights are in memory"
    if MultiStorageClientFeature.is_enabled():
        return "Megatron Core writes to the object store"
    if provider.pre_wrap_hook is not None or provider.post_wrap_hook is not None:
        return f"{type(provider).__name__} has hooks that change the model"
    sizes = ("tensor_model", "pipeline_model", "context", "expert_model")
    if any(getattr(provider, f"{size}_parallel_size", 1) != 1 for size in sizes):
        return "model parallelism"
    if any(getattr(provider, f"moe_{part}_glu_interleave_size", None) for part in ("mlp", "shared_expert")):
        return "interleaved GLU weights"
    return ""


@dataclass(frozen=True, eq=False)
class _Parameter:
    """A parameter or a buffer, and its conversion.

    Attributes:
        task: The conversion.
        dtype: The dtype to which a load casts the result.
        module: A copy of its module on the CPU.
        weight: The parameter, on the meta device.
    """

    task: Any
    dtype: torch.dtype
    module: torch.nn.Module
    weight: torch.Tensor

    @property
    def group(self) -> str | int:
        """Key of the parameters that are converted together, from one tensor of all experts."""
        return group_of(self.task.mapping) or self.storage

    @property
    def storage(self) -> int:
        return _storage(self.weight)


class StreamedWeights:
    """The weights of a streamed model.

    Attributes:
        folder: Directory of the source model.
        files: Its tensors.
        read: Number of reads of each tensor.
    """

    def __init__(self, bridge: Any, report: FidelityReport, parameters: Sequence[_Parameter]) -> None:
        self._bridge, self._report, self._parameters = model_bridge_of(bridge), report, parameters
        self.folder = Path(bridge.hf_pretrained.state.source.path)
        self.files = SafetensorsReader(self.folder, report.headers)
        self.read: Counter[str] = Counter()
        self._lock = Lock()
        self._by_storage: dict[int, _Parameter] = {}

    def obstacle(self, model: Sequence[Any]) -> str:
        """Return why the entries of a model cannot be matched with its parameters, or an empty string."""
        self._by_storage = {parameter.storage: parameter for parameter in self._parameters}
        if len(self._by_storage) != len(self._parameters):
            return "parameters that share memory"
        for parameter in self._parameters:
            weight = parameter.weight
            if type(weight.data) is not torch.Tensor or weight.device.type != "meta" or weight.storage_offset():
                return f"{parameter.task.param_name} is not a plain tensor"
            if not weight.is_contiguous() or weight.untyped_storage().nbytes() != weight.nbytes:
                return f"{parameter.task.param_name} is a part of another tensor"
        (module,) = unwrap_model(model)
        for entry in entries_of(module):
            if _storage(entry.data) not in self._by_storage:
                return f"{entry.key} is not part of a parameter"
        return ""

    def group(self, tensor: torch.Tensor) -> str | int | None:
        """Return the key of the entries that are converted together; None for an entry without a conversion."""
        parameter = self._by_storage.get(_storage(tensor))
        return parameter.group if parameter is not None else None

    def parameter(self, tensor: torch.Tensor) -> str:
        """Return the name of the parameter of a view."""
        return str(self._by_storage[_storage(tensor)].task.param_name)

    def work_item(self, entries: list[tuple[Any, torch.Tensor]]) -> WorkItem:
        """Return the work item of entries that are converted together, each with its view of a parameter."""
        parameters = [self._by_storage[_storage(tensor)] for _, tensor in entries]
        distinct = list(dict.fromkeys(parameters))
        (first, *others) = distinct
        if not others and (ranges := self._ranges(first)):
            parts = [(entry, self._cut(ranges, tensor)) for entry, tensor in entries]
            if all(part is not None for _, part in parts):
                return WorkItem([entry for entry, _ in entries], _size(entries), 0, lambda: self._copied(first, parts))
        names = tensors_of(first.task.mapping)
        source = sum(self._bytes(name) for name in names)
        largest = max((parameter.weight for parameter in distinct), key=lambda weight: weight.nbytes)
        # A mapping converts in the dtype of the source, which may be wider; the result is cast afterwards.
        headers = [self._report.headers[name] for name in names if name in self._report.headers]
        width = max([largest.element_size(), *(TORCH_DTYPES[header.dtype].itemsize for header in headers)])
        return WorkItem(
            [entry for entry, _ in entries],
            _size(entries),
            source + largest.numel() * width + largest.nbytes,
            lambda: self._converted(distinct, parameters, entries),
        )

    def count_reads(self, names: Iterable[str]) -> None:
        """Count reads of tensors. Thread-safe."""
        with self._lock:
            self.read.update(names)

    def require_all_read(self, ranks: Sequence[Counter[str]]) -> None:
        """Check that all ranks together have read each tensor as often as the check of the model has determined.

        Raises:
            RuntimeError: If they have not: the files do not contain the model.
        """
        coverage, read = self._report.coverage, Counter[str]()
        for counts in ranks:
            read.update(counts)
        names = sorted((coverage.reads.keys() | read.keys()) - coverage.value_dependent)
        if differing := [name for name in names if coverage.reads[name] != read[name]]:
            name = differing[0]
            raise RuntimeError(
                f"Internal error: tensor {name} was read {read[name]} times instead of {coverage.reads[name]} "
                f"({len(differing)} tensors affected). Nothing was published. Please report this bug."
            )

    def _bytes(self, name: str) -> int:
        return self.files.place(name).length if name in self._report.headers else 0

    def _ranges(self, parameter: _Parameter) -> list[ByteRange]:
        """Return the byte ranges that a parameter consists of, in order; none if it is converted."""
        names = self._report.coverage.passthrough.get(parameter.task.param_name, [])
        dtypes = {parameter.dtype, *(TORCH_DTYPES[self._report.headers[name].dtype] for name in names)}
        return [self.files.place(name) for name in names] if dtypes == {parameter.weight.dtype} else []

    def _cut(self, ranges: Sequence[ByteRange], tensor: torch.Tensor) -> list[ByteRange] | None:
        """Return the byte ranges of a view; None if its bytes are not contiguous."""
        if not tensor.is_contiguous():
            return None
        begin, parts = tensor.storage_offset() * tensor.itemsize, []
        end = begin + tensor.nbytes
        for part in ranges:
            first, last = int(max(begin, 0)), int(min(end, part.length))
            if first < last:
                parts.append(part.cut(first, last - first))
            begin, end = begin - part.length, end - part.length
        return parts

    def _copied(self, parameter: _Parameter, parts: list[tuple[Any, Any]]) -> Iterator[Payload]:
        self.count_reads(tensors_of(parameter.task.mapping))
        yield from (Payload(entry, ranges) for entry, ranges in parts)

    def _converted(
        self, distinct: list[_Parameter], parameters: list[_Parameter], entries: list[tuple[Any, torch.Tensor]]
    ) -> Iterator[Payload]:
        state = StateDict(_CountingSource(self))
        tensors = self._bridge.maybe_modify_loaded_hf_weight(distinct[0].task.mapping.hf_param, state)
        for parameter in distinct:
            task = parameter.task
            with torch.no_grad():
                converted = task.mapping.hf_to_megatron(tensors, parameter.module)
                if converted.shape != parameter.weight.shape:
                    raise RuntimeError(
                        f"Internal error: {task.mapping.hf_param} was converted to {tuple(converted.shape)}, but "
                        f"{task.param_name} is {tuple(parameter.weight.shape)}. Please report this bug."
                    )
                converted = converted.to(parameter.dtype).to(parameter.weight.dtype).contiguous()
            for owner, (entry, view) in zip(parameters, entries):
                if owner is parameter:
                    yield Payload(
                        entry,
                        converted.as_strided(
                            view.size(), view.stride(), view.storage_offset() + converted.storage_offset()
                        ),
                    )
            del converted


class _CountingSource(StateSource):
    """The tensors of streamed weights; counts their reads."""

    def __init__(self, weights: StreamedWeights) -> None:
        self._weights = weights

    def get_all_keys(self) -> list[str]:
        """See StateSource."""
        keys: list[str] = self._weights.files.get_all_keys()
        return keys

    def load_tensors(self, keys: list[str]) -> dict[str, torch.Tensor]:
        """See StateSource."""
        self._weights.count_reads(keys)
        return self._weights.files.load_tensors(keys)


def _storage(tensor: torch.Tensor) -> int:
    """Return an identifier of the storage of a tensor, which its views share. On the meta device it has no address."""
    return storage_id(tensor)


def _size(entries: Sequence[tuple[Any, torch.Tensor]]) -> int:
    return sum(math.prod(tensor.shape) * tensor.itemsize for _, tensor in entries)
