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

"""Compares a checkpoint with the Hugging Face model that it was made of, bit by bit, and tells what differs by name.

What is what an import would write is found without loading it; the rest is loaded, a few layers at a time, and
converted to Hugging Face's layout.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from megatron.core.dist_checkpointing.mapping import ShardedTensor, ShardedTensorFactory
from tqdm import tqdm

from megatron.bridge import AutoBridge
from megatron.bridge.models.conversion.names import grouped
from megatron.bridge.training.model_load_save import temporary_distributed_context
from megatron.bridge.training.release.accounting import is_ignored
from megatron.bridge.training.release.preflight import check_model
from megatron.bridge_release.args_check import EMBEDDING
from megatron.bridge_release.loading import load_part
from megatron.bridge_release.reading import read_metadata
from megatron.bridge_release.streamed_comparing import bits, find_equal


# What has a row for each token, and rows for none of them after those.
_PADDED = (EMBEDDING, "output_layer.weight")

# How much is loaded of the checkpoint at a time, in bytes; at least a tensor is.
_BATCH = 1 << 28


def compare(folder: Path, hf_model: str) -> tuple[int, list[str]]:
    """Compare every tensor of a checkpoint with its source.

    The model is built of the Hugging Face config, not of what the checkpoint says, and has no weights of its own.
    Rows that pad the vocabulary are no part of the model.

    Args:
        folder: Checkpoint folder, which `megatron.bridge_release.checking.check` has found to load.
        hf_model: Hugging Face model ID, or folder of a model.

    Returns:
        The number of tensors that are equal to the source's, and which of the source's are not, or are missing, and
        which of the checkpoint's have no source. An output layer that is tied to the embedding needs none; nor is
        missing what the import ignores of every model, such as rotary tables.

    Raises:
        ValueError: If the model cannot be read, or if the checkpoint is of another one: one line.
        OSError: If a file cannot be read.
        MemoryError: If there is not enough of it.
    """
    hf_model = check_model(hf_model)
    bridge = AutoBridge.from_hf_pretrained(hf_model)
    provider = bridge.to_megatron_provider(load_weights=False)
    embedding = read_metadata(folder).tensors.get(EMBEDDING)
    if embedding is not None:
        provider.vocab_size, provider.should_pad_vocab = embedding.shape[0], False
    provider.finalize()
    source = bridge.hf_pretrained.state
    lacking = {name for name in source.keys() if not is_ignored(name, bridge.hf_pretrained.config)}
    problems = []
    with temporary_distributed_context(backend="gloo"):
        found = find_equal(folder, bridge)
        model = provider.provide_distributed_model(
            wrap_with_ddp=False, use_cpu_initialization=True, init_model_with_meta_device=True
        )
        # A task of which the source is missing has no weight; a parameter that nothing maps has no task.
        tasks = [task for task in bridge.get_conversion_tasks(model) if task is not None]
        tasks = [task for task in tasks if task.param_weight is not None]
        parameters = {name.removeprefix("module.") for name, _ in model[0].named_parameters()}
        without = parameters - {task.param_name for task in tasks}
        if without:
            problems.append(f"Of the checkpoint, without a source in {hf_model}: {grouped(sorted(without))}.")
        if lacking - found.tensors:
            # Of a tied output layer the files may hold a copy, which is compared with the embedding.
            found.parameters -= {task.param_name for task in tasks if task.param_name.endswith(EMBEDDING)}
        registry = bridge._model_bridge.mapping_registry()
        mappings = [registry.megatron_to_hf_lookup(name) for name in _PADDED]
        padded = {mapping.hf_param for mapping in mappings if mapping is not None}
        equal = found.tensors
        loaded = _Loaded(model[0], folder, [task for task in tasks if task.param_name not in found.parameters])
        for name, tensor in bridge.export_hf_weights(model, show_progress=False, conversion_tasks=loaded):
            if name not in source:
                continue
            lacking.discard(name)
            equal.discard(name)
            expected = source[name].to(tensor.dtype)
            if name in padded:
                tensor = tensor[: expected.shape[0]]
            if tensor.shape != expected.shape:
                problems.append(f"{name} is {tuple(tensor.shape)}, and {tuple(expected.shape)} in {hf_model}")
            elif count := int((bits(tensor) != bits(expected)).sum()):
                problems.append(f"{name} differs from {hf_model} in {count} of {tensor.numel()} values")
            else:
                equal.add(name)
            # The next one is read before these names are given to it.
            del tensor, expected
    lacking -= found.tensors
    if lacking:
        why = (
            ""
            if without
            else " Megatron's model has no place for it; an import lets go what allow_unused_tensors names."
        )
        problems.append(f"Of {hf_model}, not in the checkpoint: {grouped(sorted(lacking))}.{why}")
    return len(equal), problems


class _Loaded:
    """Conversion tasks of a model without weights, each with its weight when its turn comes."""

    def __init__(self, model: Any, folder: Path, tasks: list[Any]) -> None:
        self._sharded, self._folder, self._tasks = model.sharded_state_dict(), folder, tasks

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[Any]:
        total = sum(_size(task.param_weight) for task in self._tasks)
        with tqdm(
            desc="compare by names", total=total, unit="B", unit_scale=True, disable=None, leave=False
        ) as progress:
            for batch in self._batches():
                weights = self._load([task.param_name for task in batch])
                for task in batch:
                    # It is let go when the next one is asked for.
                    yield replace(task, param_weight=weights.pop(task.param_name))
                    progress.update(_size(task.param_weight))

    def _batches(self) -> Iterator[list[Any]]:
        batch: list[Any] = []
        size = 0
        for task in self._tasks:
            if batch and size + _size(task.param_weight) > _BATCH:
                yield batch
                batch, size = [], 0
            batch.append(task)
            size += _size(task.param_weight)
        if batch:
            yield batch

    def _load(self, names: list[str]) -> dict[str, torch.Tensor]:
        wanted: dict[str, ShardedTensor | ShardedTensorFactory] = {}
        for name in names:
            entry = self._sharded[name]
            wanted[name] = replace(entry, data=torch.empty(entry.data.shape, dtype=entry.data.dtype))
        try:
            return load_part(wanted, self._folder)
        except ValueError as error:
            raise ValueError(f"the checkpoint is not of this model: {error}") from error


def _size(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()
