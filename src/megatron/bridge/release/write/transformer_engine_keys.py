# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Adds the keys of Transformer Engine models to checkpoints that are written without it.

Megatron Core has two sets of modules for the same model. Their parameters have equal values, but some have other keys:

- Every Transformer Engine module, norms included, also has an ``_extra_state``: its FP8 scaling, or an empty ``uint8``
  tensor.
- Transformer Engine fuses a norm into the linear layer that follows it, as its ``layer_norm_weight``. Megatron Core's own
  layer specs use this key for the input and the MLP of a dense layer, and for the MLP of an MoE layer (which Transformer
  Engine does not fuse), but not for multi-latent attention (which it fuses).

Read from ``gpt_layer_specs.py`` and ``transformer/utils.py`` of megatron-core 0.19.2. The keys of models without
Transformer Engine stay.
"""

from dataclasses import replace
from typing import Any

import torch
from megatron.core.dist_checkpointing.mapping import ShardedObject, ShardedTensor

from megatron.bridge.release.compat.megatron_core_api import nested_values


# Key of a norm, and its key if it is fused into the linear layer that follows it.
_FUSED = (
    ("pre_mlp_layernorm.", "mlp.linear_fc1.layer_norm_"),
    ("self_attention.q_layernorm.", "self_attention.linear_q_up_proj.layer_norm_"),
    ("self_attention.kv_layernorm.", "self_attention.linear_kv_up_proj.layer_norm_"),
)


def transformer_engine_norm_key(key: str, keys: set[str]) -> str | None:
    """Return the key of a parameter of a norm in a Transformer Engine model; None for other parameters.

    Args:
        key: Its key in a checkpoint that was written without Transformer Engine.
        keys: All keys of that checkpoint.
    """
    for unfused, fused in _FUSED:
        linear = fused.removesuffix("layer_norm_")
        for name in (unfused, fused):
            prefix, found, parameter = key.rpartition(name)
            if found:
                return prefix + (fused if f"{prefix}{linear}weight" in keys else unfused) + parameter
    module, _, parameter = key.rpartition(".")
    if parameter.startswith("layer_norm_") or module.endswith("norm"):
        return key
    return None


def add_transformer_engine_keys(state_dict: dict[str, Any]) -> None:
    """Add the entries of Transformer Engine models to a state dict, in place.

    Its sections ``model``, or ``model0``, ``model1`` of virtual pipeline stages, are sharded state dicts of models without
    Transformer Engine.
    """
    for section, entries in state_dict.items():
        if section.startswith("model") and isinstance(entries, dict):
            _add_keys(entries)


def _add_keys(model_state_dict: dict[str, Any]) -> None:
    # A low-memory save has applied its factories, whose results are in lists and dicts.
    keys = {entry.key for entry in nested_values(model_state_dict) if hasattr(entry, "key")}
    for name, tensor in list(model_state_dict.items()):
        if not isinstance(tensor, ShardedTensor):
            continue
        key = transformer_engine_norm_key(tensor.key, keys)
        if key is None:
            continue
        if key not in keys:
            model_state_dict[f"{name}@{key}"] = replace(tensor, key=key)
        module, _, parameter = key.rpartition(".")
        if parameter == "weight" and f"{module}._extra_state" not in keys:
            # Megatron Core shards an _extra_state along the prepended (layer) axes only.
            axes = tensor.prepend_axis_num
            model_state_dict[f"{name}@{module}._extra_state"] = ShardedObject(
                f"{module}._extra_state",
                torch.empty(0, dtype=torch.uint8),
                tensor.global_shape[:axes] or (1,),
                tensor.global_offset[:axes] or (0,),
                tensor.replica_id,
            )
