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

"""Streams the weights of a Hugging Face model into a save, each piece when it is written.

The model that is saved is built on the meta device. An entry of its state dict is a view of a parameter, found by the
storage of both; what the parameter would hold is converted of the source's tensors when the entry's turn comes.
Where a conversion only hands on its tensor, or joins a gate and an up projection one after the other, no conversion is
needed: the entry's bytes are a part of the source's files.
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
from megatron.core.dist_checkpointing.dict_utils import nested_values
from megatron.core.dist_checkpointing.mapping import ShardedTensor, apply_factories
from megatron.core.msc_utils import MultiStorageClientFeature
from megatron.core.utils import unwrap_model

from megatron.bridge.models.conversion.model_bridge import MegatronModelBridge
from megatron.bridge.models.conversion.utils import get_module_and_param_from_name
from megatron.bridge.models.hf_pretrained.state import SafeTensorsStateSource, StateDict, StateSource
from megatron.bridge.release.source.meta_tensors import DTYPES
from megatron.bridge.release.source.safetensors_reader import FileRange, HuggingFaceFiles
from megatron.bridge.release.validation.fidelity import FidelityReport
from megatron.bridge.release.validation.meta_model import build_on_meta, cpu_twin
from megatron.bridge.release.validation.tensors import group_of, model_bridge_of, tensors_of
from megatron.bridge.release.write.entry_file import Payload, WorkItem
from megatron.bridge.utils.common_utils import print_rank_0


# Attribute of a model on the meta device: its weights.
_WEIGHTS = "_release_weights"


def streamed_model(bridge: Any, report: FidelityReport) -> list[Any] | None:
    """Build a Megatron model whose weights stay in the Hugging Face files until they are saved.

    Args:
        bridge: The `AutoBridge` of the Hugging Face model.
        report: Result of the checks of the model.

    Returns:
        The model, for `save_megatron_model` with ``release=True`` alone: it holds no weights. None where something
        speaks against it, which is said: then the model is to be loaded whole.
    """
    model, obstacle = try_streamed_model(bridge, report)
    if model is None:
        print_rank_0(f"The model is loaded whole before it is written: {obstacle}.")
    return model


def try_streamed_model(bridge: Any, report: FidelityReport) -> tuple[list[Any] | None, str]:
    """Build a model as `streamed_model` does, and tell what speaks against it.

    Args:
        bridge: The `AutoBridge` of the Hugging Face model.
        report: Result of the checks of the model.

    Returns:
        The model, None where something speaks against it; and what that is.
    """
    provider = bridge.to_megatron_provider(load_weights=False)
    obstacle = _obstacle(bridge, provider)
    if obstacle:
        return None, obstacle
    tasks: list[tuple[Any, torch.dtype, torch.nn.Module]] = []

    def note(models: list[Any]) -> list[Any]:
        # Loaded here, a tensor takes its parameter's dtype, which may change when the model is wrapped.
        twin = functools.cache(cpu_twin)
        for task in model_bridge_of(bridge).build_conversion_tasks(bridge.hf_pretrained, unwrap_model(models)):
            if task and task.megatron_module:
                tasks.append((task, task.param_weight.dtype, twin(task.megatron_module)))
        return models

    provider.finalize()
    model = build_on_meta(provider, before_wrapping=note)
    unwrapped = unwrap_model(model)
    # Wrapping replaces buffers, such as the bias of experts.
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
    """Return the weights of a model that `streamed_model` built; None for any other."""
    return getattr(model[0], _WEIGHTS, None) if model else None


def entries_of(module: Any, metadata: dict[str, Any] | None = None) -> list[ShardedTensor]:
    """Return the tensors of a model's sharded state dict, as they are written.

    Args:
        module: The model.
        metadata: How the checkpoint is laid out, as Megatron Core records it; None for its own default.
    """
    state = module.sharded_state_dict(metadata=metadata)
    apply_factories(state)
    return [entry for entry in nested_values(state) if isinstance(entry, ShardedTensor)]


def _obstacle(bridge: Any, provider: Any) -> str:
    """Return why a model's weights are more than its parameters' conversions make of them; empty where they are not."""
    loads = type(bridge._model_bridge).load_weights_hf_to_megatron
    if loads is not MegatronModelBridge.load_weights_hf_to_megatron:
        return f"{type(bridge._model_bridge).__name__} loads it in its own way"
    if not isinstance(bridge.hf_pretrained.state.source, SafeTensorsStateSource):
        return "its tensors are in memory"
    if MultiStorageClientFeature.is_enabled():
        return "Megatron Core writes to the object store"
    if provider.pre_wrap_hook is not None or provider.post_wrap_hook is not None:
        return f"{type(provider).__name__} changes it after it is built"
    sizes = ("tensor_model", "pipeline_model", "context", "expert_model")
    if any(getattr(provider, f"{size}_parallel_size", 1) != 1 for size in sizes):
        return "it is built in parallel parts"
    if any(getattr(provider, f"moe_{part}_glu_interleave_size", None) for part in ("mlp", "shared_expert")):
        return "its gates are interleaved"
    return ""


@dataclass(frozen=True, eq=False)
class _Parameter:
    """A parameter, or a buffer, and where its value comes from.

    Attributes:
        task: Its conversion.
        dtype: The dtype that it is loaded in.
        module: Its module for the conversion.
        weight: The parameter of the model, on the meta device.
    """

    task: Any
    dtype: torch.dtype
    module: torch.nn.Module
    weight: torch.Tensor

    @property
    def group(self) -> str | int:
        """What it is converted together with: the others of a tensor of all experts."""
        return group_of(self.task.mapping) or self.storage

    @property
    def storage(self) -> int:
        return _storage(self.weight)


class StreamedWeights:
    """The weights of a model, in the files of its source.

    Attributes:
        folder: The folder of the source.
        files: Its tensors.
        read: How often each tensor of the source was read, by its name.
    """

    def __init__(self, bridge: Any, report: FidelityReport, parameters: Sequence[_Parameter]) -> None:
        self._bridge, self._report, self._parameters = model_bridge_of(bridge), report, parameters
        self.folder = Path(bridge.hf_pretrained.state.source.path)
        self.files = HuggingFaceFiles(self.folder, report.headers)
        self.read: Counter[str] = Counter()
        self._lock = Lock()
        self._by_storage: dict[int, _Parameter] = {}

    def obstacle(self, model: Sequence[Any]) -> str:
        """Return why the entries of a model cannot be found in its parameters; empty where they can."""
        self._by_storage = {parameter.storage: parameter for parameter in self._parameters}
        if len(self._by_storage) != len(self._parameters):
            return "some of its parameters share their memory"
        for parameter in self._parameters:
            weight = parameter.weight
            if type(weight.data) is not torch.Tensor or weight.device.type != "meta" or weight.storage_offset():
                return f"{parameter.task.param_name} is no plain tensor"
            if not weight.is_contiguous() or weight.untyped_storage().nbytes() != weight.nbytes:
                return f"{parameter.task.param_name} is a part of another tensor"
        (module,) = unwrap_model(model)
        for entry in entries_of(module):
            if _storage(entry.data) not in self._by_storage:
                return f"{entry.key} is no part of a parameter"
        return ""

    def group(self, tensor: torch.Tensor) -> str | int | None:
        """Return the group of an entry, all of which is converted together; None where nothing is converted."""
        parameter = self._by_storage.get(_storage(tensor))
        return parameter.group if parameter is not None else None

    def parameter(self, tensor: torch.Tensor) -> str:
        """Return the name of the converted parameter that a view belongs to."""
        return str(self._by_storage[_storage(tensor)].task.param_name)

    def work_item(self, entries: list[tuple[Any, torch.Tensor]]) -> WorkItem:
        """Make a unit of the entries of a group.

        Args:
            entries: The entries, each with the view of a parameter that it is.

        Returns:
            The unit.
        """
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
        # A mapping converts in the source's dtype, which may be wider; what it makes is rounded then.
        headers = [self._report.headers[name] for name in names if name in self._report.headers]
        width = max([largest.element_size(), *(DTYPES[header.dtype].itemsize for header in headers)])
        return WorkItem(
            [entry for entry, _ in entries],
            _size(entries),
            source + largest.numel() * width + largest.nbytes,
            lambda: self._converted(distinct, parameters, entries),
        )

    def note(self, names: Iterable[str]) -> None:
        """Note that tensors of the source are read. For several threads at a time."""
        with self._lock:
            self.read.update(names)

    def require_all_read(self, ranks: Sequence[Counter[str]]) -> None:
        """Require that the source was read as it was accounted for, by all ranks together.

        Raises:
            RuntimeError: If it was not: what was written is not the model.
        """
        coverage, read = self._report.coverage, Counter[str]()
        for one in ranks:
            read.update(one)
        names = sorted((coverage.reads.keys() | read.keys()) - coverage.value_dependent)
        if differing := [name for name in names if coverage.reads[name] != read[name]]:
            name = differing[0]
            raise RuntimeError(
                f"{name} was read {read[name]} times, and {coverage.reads[name]} times were accounted for "
                f"({len(differing)} such tensors). Nothing is published. Please report it."
            )

    def _bytes(self, name: str) -> int:
        return self.files.place(name).length if name in self._report.headers else 0

    def _ranges(self, parameter: _Parameter) -> list[FileRange]:
        """Return the parts of the source's files that make a parameter, in order; none where it is converted."""
        names = self._report.coverage.passthrough.get(parameter.task.param_name, [])
        dtypes = {parameter.dtype, *(DTYPES[self._report.headers[name].dtype] for name in names)}
        return [self.files.place(name) for name in names] if dtypes == {parameter.weight.dtype} else []

    def _cut(self, ranges: Sequence[FileRange], tensor: torch.Tensor) -> list[FileRange] | None:
        """Return the parts of files that make a view; None where its bytes are not contiguous."""
        if not tensor.is_contiguous():
            return None
        begin, parts = tensor.storage_offset() * tensor.itemsize, []
        end = begin + tensor.nbytes
        for one in ranges:
            first, last = int(max(begin, 0)), int(min(end, one.length))
            if first < last:
                parts.append(one.cut(first, last - first))
            begin, end = begin - one.length, end - one.length
        return parts

    def _copied(self, parameter: _Parameter, parts: list[tuple[Any, Any]]) -> Iterator[Payload]:
        self.note(tensors_of(parameter.task.mapping))
        yield from (Payload(entry, ranges) for entry, ranges in parts)

    def _converted(
        self, distinct: list[_Parameter], parameters: list[_Parameter], entries: list[tuple[Any, torch.Tensor]]
    ) -> Iterator[Payload]:
        state = StateDict(_Noting(self))
        tensors = self._bridge.maybe_modify_loaded_hf_weight(distinct[0].task.mapping.hf_param, state)
        for parameter in distinct:
            task = parameter.task
            with torch.no_grad():
                converted = task.mapping.hf_to_megatron(tensors, parameter.module)
                if converted.shape != parameter.weight.shape:
                    raise ValueError(
                        f"{task.mapping.hf_param} makes {tuple(converted.shape)} of {task.param_name}, which is "
                        f"{tuple(parameter.weight.shape)}. Import the model again."
                    )
                converted = converted.to(parameter.dtype).to(parameter.weight.dtype).contiguous()
            for own, (entry, view) in zip(parameters, entries):
                if own is parameter:
                    yield Payload(
                        entry,
                        converted.as_strided(
                            view.size(), view.stride(), view.storage_offset() + converted.storage_offset()
                        ),
                    )
            del converted


class _Noting(StateSource):
    """The files of streamed weights; what is read of them is noted."""

    def __init__(self, weights: StreamedWeights) -> None:
        self._weights = weights

    def get_all_keys(self) -> list[str]:
        """See StateSource."""
        return self._weights.files.get_all_keys()

    def load_tensors(self, keys: list[str]) -> dict[str, torch.Tensor]:
        """See StateSource."""
        self._weights.note(keys)
        return self._weights.files.load_tensors(keys)


def _storage(tensor: torch.Tensor) -> int:
    """Return what identifies a tensor's storage, of which views are parts; a meta tensor's has no address."""
    return int(tensor.untyped_storage()._cdata)


def _size(entries: Sequence[tuple[Any, torch.Tensor]]) -> int:
    return sum(math.prod(tensor.shape) * tensor.itemsize for _, tensor in entries)
