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


"""Loads a part of a checkpoint's tensors, such as some of the layers that share a key."""

from megatron.bridge.release.compat.torch_api import checkpoint_causes
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from megatron.core import dist_checkpointing
from megatron.bridge.release.compat.megatron_core_api import dict_list_map_outplace
from megatron.core.dist_checkpointing.mapping import ShardedTensor, ShardedTensorFactory
from megatron.bridge.release.compat.torch_api import CheckpointException

from megatron.bridge.release.errors import is_out_of_memory


def load_part(wanted: dict[str, ShardedTensor | ShardedTensorFactory], folder: Path) -> dict[str, torch.Tensor]:
    """Load parts of tensors, whatever other parts the checkpoint has.

    Args:
        wanted: Entries of a sharded state dict, whose data are overwritten.
        folder: Checkpoint folder.

    Returns:
        The tensors, by the names of their entries.

    Raises:
        ValueError: If the checkpoint lacks an entry, or has another shape for it: one line.
        MemoryError: If memory runs out.
    """
    built = {
        name: entry.build() if isinstance(entry, ShardedTensorFactory) else entry for name, entry in wanted.items()
    }
    try:
        # The validation takes it for an error that only a part of a tensor is asked for.
        loaded = dist_checkpointing.load(
            dict_list_map_outplace(_stacked, built), str(folder), validate_access_integrity=False
        )
    except (Exception, CheckpointException) as error:
        # CheckpointException is no Exception. It has the cause of each rank; here there is one rank.
        causes = checkpoint_causes(error)
        cause = causes[0] if causes else error
        message = " ".join(str(cause).split()) or type(cause).__name__
        raise (MemoryError if is_out_of_memory(cause) else ValueError)(message) from error
    tensors = {}
    for name, entry in wanted.items():
        part = _unstacked(loaded[name], built[name])
        tensors[name] = entry.merge_fn(part) if isinstance(entry, ShardedTensorFactory) else part
    return tensors


def _stacked(entry: ShardedTensor) -> ShardedTensor:
    """Return a layer's entry with the axes of the stack; else Megatron Core reads the whole stack for it."""
    shape = (1,) * entry.prepend_axis_num + entry.local_shape
    return replace(entry, data=entry.data.view(shape), local_shape=shape, prepend_axis_num=0)


def _unstacked(loaded: Any, entries: Any) -> Any:
    """Return loaded tensors, nested as their entries are, with the shapes of the layers."""
    if isinstance(entries, ShardedTensor):
        return loaded.view(entries.local_shape)
    if isinstance(entries, dict):
        return {key: _unstacked(loaded[key], entry) for key, entry in entries.items()}
    return [_unstacked(part, entry) for part, entry in zip(loaded, entries)]
