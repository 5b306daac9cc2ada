# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Loads a part of a checkpoint's tensors, such as some of the layers that share a key."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from megatron.core import dist_checkpointing
from megatron.core.dist_checkpointing.mapping import ShardedTensor, ShardedTensorFactory

from megatron.bridge.release.compat.megatron_core_api import dict_list_map_outplace
from megatron.bridge.release.compat.torch_api import CheckpointException, checkpoint_causes
from megatron.bridge.release.errors import is_out_of_memory


def load_partial(wanted: dict[str, ShardedTensor | ShardedTensorFactory], folder: Path) -> dict[str, torch.Tensor]:
    """Load entries of a sharded state dict, whose data are overwritten, from a checkpoint that may contain more.

    Raises:
        ValueError: If the checkpoint lacks an entry, or has another shape for it: one line.
        MemoryError: If memory runs out.
    """
    built = {
        name: entry.build() if isinstance(entry, ShardedTensorFactory) else entry for name, entry in wanted.items()
    }
    try:
        # The validation rejects requests for a part of a tensor.
        loaded = dist_checkpointing.load(
            dict_list_map_outplace(_as_layer_slice, built), str(folder), validate_access_integrity=False
        )
    except (Exception, CheckpointException) as error:
        # CheckpointException is a BaseException that contains the error of each rank; here there is one rank.
        causes = checkpoint_causes(error)
        cause = causes[0] if causes else error
        message = " ".join(str(cause).split()) or type(cause).__name__
        raise (MemoryError if is_out_of_memory(cause) else ValueError)(message) from error
    tensors = {}
    for name, entry in wanted.items():
        part = _from_layer_slice(loaded[name], built[name])
        tensors[name] = entry.merge_fn(part) if isinstance(entry, ShardedTensorFactory) else part
    return tensors


def _as_layer_slice(entry: ShardedTensor) -> ShardedTensor:
    """Return a layer's entry with the axes of the stack, so that Megatron Core does not read the whole stack."""
    shape = (1,) * entry.prepend_axis_num + entry.local_shape
    return replace(entry, data=entry.data.view(shape), local_shape=shape, prepend_axis_num=0)


def _from_layer_slice(loaded: Any, entries: Any) -> Any:
    """Return loaded tensors, nested as their entries are, with the shapes of the layers."""
    if isinstance(entries, ShardedTensor):
        return loaded.view(entries.local_shape)
    if isinstance(entries, dict):
        return {key: _from_layer_slice(loaded[key], entry) for key, entry in entries.items()}
    return [_from_layer_slice(part, entry) for part, entry in zip(loaded, entries)]
