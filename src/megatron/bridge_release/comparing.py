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

"""Compares a checkpoint with the Hugging Face model that it was made of, bit by bit, a few layers at a time."""

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
from megatron.bridge.training.utils.import_checks import check_model
from megatron.bridge_release.checking import EMBEDDING
from megatron.bridge_release.loading import load_part
from megatron.bridge_release.reading import read_metadata


# What has a row for each token, and rows for none of them after those.
_PADDED = (EMBEDDING, "output_layer.weight")

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def compare(folder: Path, hf_model: str, *, batch: int = 1 << 28) -> tuple[int, list[str]]:
    """Compare every tensor of a checkpoint with its source.

    The model is built of the Hugging Face config, not of what the checkpoint says, and has no weights of its own:
    those of a few layers are read from the checkpoint, converted to Hugging Face's layout, and compared. Rows that
    pad the vocabulary are no part of the model.

    Args:
        folder: Checkpoint folder, which `megatron.bridge_release.checking.check` has found to load.
        hf_model: Hugging Face model ID, or folder of a model.
        batch: How much is read of the checkpoint at a time, in bytes; at least a tensor is.

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
    problems, equal = [], 0
    with temporary_distributed_context(backend="gloo"):
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
        # Of a tied output layer the files may hold a copy, which is compared with the embedding.
        registry = bridge._model_bridge.mapping_registry()
        mappings = [registry.megatron_to_hf_lookup(name) for name in _PADDED]
        padded = {mapping.hf_param for mapping in mappings if mapping is not None}
        loaded = _Loaded(model[0], folder, tasks, batch)
        for name, tensor in bridge.export_hf_weights(model, show_progress=False, conversion_tasks=loaded):
            if name not in source:
                continue
            lacking.discard(name)
            expected = source[name].to(tensor.dtype)
            if name in padded:
                tensor = tensor[: expected.shape[0]]
            if tensor.shape != expected.shape:
                problems.append(f"{name} is {tuple(tensor.shape)}, and {tuple(expected.shape)} in {hf_model}")
            elif count := int((_bits(tensor) != _bits(expected)).sum()):
                problems.append(f"{name} differs from {hf_model} in {count} of {tensor.numel()} values")
            else:
                equal += 1
            # The next one is read before these names are given to it.
            del tensor, expected
    if lacking:
        why = (
            ""
            if without
            else " Megatron's model has no place for it; an import lets go what allow_unused_tensors names."
        )
        problems.append(f"Of {hf_model}, not in the checkpoint: {grouped(sorted(lacking))}.{why}")
    return equal, problems


class _Loaded:
    """Conversion tasks of a model without weights, each with its weight when its turn comes."""

    def __init__(self, model: Any, folder: Path, tasks: list[Any], batch: int) -> None:
        self._sharded, self._folder, self._tasks, self._batch = model.sharded_state_dict(), folder, tasks, batch

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[Any]:
        total = sum(_size(task.param_weight) for task in self._tasks)
        with tqdm(desc="compare", total=total, unit="B", unit_scale=True, disable=None, leave=False) as progress:
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
            if batch and size + _size(task.param_weight) > self._batch:
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


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    """Give a tensor's bits as whole numbers: -0.0 is not 0.0, and a NaN is itself."""
    return tensor.contiguous().view(_INTEGERS[tensor.element_size()])


def _size(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()
