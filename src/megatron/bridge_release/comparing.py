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
from megatron.core import dist_checkpointing
from megatron.core.dist_checkpointing.mapping import ShardedTensor, ShardedTensorFactory
from torch.distributed.checkpoint.api import CheckpointException
from tqdm import tqdm

from megatron.bridge import AutoBridge
from megatron.bridge.training.model_load_save import temporary_distributed_context
from megatron.bridge_release.checking import EMBEDDING
from megatron.bridge_release.reading import read_metadata


# What is read at a time, in bytes: .metadata is read again each time.
_BATCH = 1 << 30


def compare(folder: Path, hf_model: str) -> tuple[int, list[str]]:
    """Compare every tensor of a checkpoint with its source.

    The model is built of the Hugging Face config, not of what the checkpoint says, and has no weights of its own:
    those of a few layers are read from the checkpoint, converted to Hugging Face's layout, and compared.

    Args:
        folder: Checkpoint folder, which `megatron.bridge_release.checking.check` has found to load.
        hf_model: Hugging Face model ID, or folder of a model.

    Returns:
        The number of tensors that are equal to the source's, and which of the source's are not, or are missing. What
        only the checkpoint has (an output layer that is tied to the embedding) is no difference.

    Raises:
        ValueError: If the model cannot be read.
        OSError: If a file cannot be read.
    """
    bridge = AutoBridge.from_hf_pretrained(hf_model)
    provider = bridge.to_megatron_provider(load_weights=False)
    embedding = read_metadata(folder).tensors.get(EMBEDDING)
    if embedding is not None:
        provider.vocab_size, provider.should_pad_vocab = embedding.shape[0], False
    provider.finalize()
    source = bridge.hf_pretrained.state
    lacking, problems, equal = set(source.keys()), [], 0
    with temporary_distributed_context(backend="gloo"):
        model = provider.provide_distributed_model(
            wrap_with_ddp=False, use_cpu_initialization=True, init_model_with_meta_device=True
        )
        tasks = _Loaded(model[0], folder, [task for task in bridge.get_conversion_tasks(model) if task is not None])
        for name, tensor in bridge.export_hf_weights(model, show_progress=False, conversion_tasks=tasks):
            if name not in source:
                continue
            lacking.discard(name)
            expected = source[name].to(tensor.dtype)
            if tensor.shape != expected.shape:
                problems.append(f"{name} is {tuple(tensor.shape)}, and {tuple(expected.shape)} in {hf_model}")
            elif count := int((_bits(tensor) != _bits(expected)).any(dim=1).sum()):
                problems.append(f"{name} differs from {hf_model} in {count} of {tensor.numel()} values")
            else:
                equal += 1
    return equal, problems + [f"{name} of {hf_model} is not in the checkpoint" for name in sorted(lacking)]


class _Loaded:
    """Conversion tasks of a model without weights, each with its weight when its turn comes."""

    def __init__(self, model: Any, folder: Path, tasks: list[Any]) -> None:
        self._sharded, self._folder, self._tasks = model.sharded_state_dict(), folder, tasks

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[Any]:
        total = sum(_size(task.param_weight) for task in self._tasks)
        with tqdm(desc="compare", total=total, unit="B", unit_scale=True, disable=None, leave=False) as progress:
            for batch in self._batches():
                weights = self._load([task.param_name for task in batch])
                for task in batch:
                    yield replace(task, param_weight=weights[task.param_name])
                    progress.update(_size(task.param_weight))

    def _batches(self) -> Iterator[list[Any]]:
        batch, size = [], 0
        for task in self._tasks:
            batch.append(task)
            size += _size(task.param_weight)
            if size >= _BATCH:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _load(self, names: list[str]) -> dict[str, torch.Tensor]:
        wanted: dict[str, ShardedTensor | ShardedTensorFactory] = {}
        for name in names:
            entry = self._sharded[name]
            wanted[name] = replace(entry, data=torch.empty(entry.data.shape, dtype=entry.data.dtype))
        try:
            return dist_checkpointing.load(wanted, str(self._folder))
        except CheckpointException as error:
            # One process, so one cause; and no Exception, which would pass who catches those.
            ((cause, _),) = error.failures.values()
            raise ValueError(f"the checkpoint is not of this model: {cause}") from error


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    """Give the bytes of a tensor's values, [values, bytes a value]: -0.0 is not 0.0, and a NaN is itself."""
    return tensor.reshape(-1, 1).contiguous().view(torch.uint8)


def _size(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()
