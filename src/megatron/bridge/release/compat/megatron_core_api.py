# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Private or unstable API of Megatron Core, seen in core 0.14 to 0.19 unless a comment says otherwise."""

import importlib
from dataclasses import fields
from typing import Any, get_type_hints

import torch.distributed as dist

# Returns rank 0 if torch.distributed is not initialized. Seen in core 0.16 to 0.19.
from megatron.core._rank_utils import safe_get_rank

# Iterate over nested state dicts, and map their values.
from megatron.core.dist_checkpointing.dict_utils import dict_list_map_outplace, nested_items_iter, nested_values
from megatron.core.dist_checkpointing.strategies.common import COMMON_STATE_FNAME
from megatron.core.dist_checkpointing.strategies.fully_parallel import FullyParallelSaveStrategyWrapper

# The steps of Megatron Core's own save, between which a release's writer writes the entries.
from megatron.core.dist_checkpointing.strategies.torch import (
    MCoreSavePlanner,
    TorchDistSaveShardedStrategy,
    mcore_to_pyt_state_dict,
)
from megatron.core.dist_checkpointing.strategies.torch import (
    _replace_state_dict_keys_with_sharded_keys as replace_state_dict_keys_with_sharded_keys,
)
from megatron.core.extensions import transformer_engine

# Object stores, which have neither rename nor links. maybe_msc was seen in core 0.19 only.
from megatron.core.msc_utils import MultiStorageClientFeature, maybe_msc
from megatron.core.process_groups_config import ProcessGroupCollection

# Its fork() switches between CUDA generators.
from megatron.core.tensor_parallel.random import CudaRNGStatesTracker


__all__ = [
    "COMMON_STATE_FNAME",
    "RESULTS_QUEUE",
    "CudaRNGStatesTracker",
    "FullyParallelSaveStrategyWrapper",
    "MCoreSavePlanner",
    "MultiStorageClientFeature",
    "TorchDistSaveShardedStrategy",
    "core_writer",
    "dict_list_map_outplace",
    "maybe_msc",
    "mcore_to_pyt_state_dict",
    "nested_items_iter",
    "nested_values",
    "process_groups",
    "replace_state_dict_keys_with_sharded_keys",
    "safe_get_rank",
    "transformer_engine_modules",
]

# Global queue, in the module that `core_writer` returns, through which the writer's processes return their results.
RESULTS_QUEUE = "_results_queue"


def core_writer() -> Any:
    """Return the module of Megatron Core's writer; None in versions that use another package's."""
    try:
        return importlib.import_module("megatron.core.dist_checkpointing.strategies.filesystem_async")
    except ModuleNotFoundError:
        return None


def process_groups(group: dist.ProcessGroup) -> ProcessGroupCollection:
    """Return a collection in which every group is this one. A collection's fields differ between versions."""
    types = get_type_hints(ProcessGroupCollection)
    names = [field.name for field in fields(ProcessGroupCollection) if types[field.name] is dist.ProcessGroup]
    return ProcessGroupCollection(**dict.fromkeys(names, group))


def transformer_engine_modules() -> dict[int, str]:
    """Return the names of Megatron Core's Transformer Engine modules by their id().

    Without Transformer Engine they are placeholders, which have no names of their own.
    """
    return {id(module): name for name, module in vars(transformer_engine).items() if name.startswith("TE")}
