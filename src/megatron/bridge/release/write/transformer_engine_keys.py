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

"""The keys that a Transformer Engine model asks for, added to a checkpoint written without it.

Megatron Core has two sets of modules for the same model. Their parameters have the same values, but
some have other keys in a checkpoint:

- A norm is a plain torch module in Megatron Core's own set and a Transformer Engine module in the
  other. Every Transformer Engine module also asks for an ``_extra_state``, its FP8 scaling; where there
  is none it is an empty ``uint8`` tensor.
- Transformer Engine fuses a norm into the linear layer that follows it, whose ``layer_norm_weight``
  it then is. Megatron Core's own layer specs map their norms to that key for a dense layer's input
  and MLP, for an MoE layer's MLP too (which Transformer Engine does not fuse), and for multi-latent
  attention not at all (which Transformer Engine does fuse).

Read from ``gpt_layer_specs.py`` and ``transformer/utils.py`` of megatron-core 0.19.2. Entries are only
added: the keys that a model without Transformer Engine asks for stay.
"""

from dataclasses import replace
from typing import Any

import torch
from megatron.core.dist_checkpointing.mapping import ShardedObject, ShardedTensor

from megatron.bridge.release.compat.megatron_core_api import nested_values


# A norm's own name, and the fused name it has where that linear layer follows it.
_FUSED = (
    ("pre_mlp_layernorm.", "mlp.linear_fc1.layer_norm_"),
    ("self_attention.q_layernorm.", "self_attention.linear_q_up_proj.layer_norm_"),
    ("self_attention.kv_layernorm.", "self_attention.linear_kv_up_proj.layer_norm_"),
)


def transformer_engine_norm_key(key: str, keys: set[str]) -> str | None:
    """Return the key that a norm's parameter has in a Transformer Engine model.

    Args:
        key: Key of a parameter in a checkpoint written without Transformer Engine.
        keys: All keys of that checkpoint.

    Returns:
        The key in a Transformer Engine model; None where ``key`` is not a norm's.
    """
    for own, fused in _FUSED:
        linear = fused.removesuffix("layer_norm_")
        for name in (own, fused):
            prefix, found, parameter = key.rpartition(name)
            if found:
                return prefix + (fused if f"{prefix}{linear}weight" in keys else own) + parameter
    module, _, parameter = key.rpartition(".")
    if parameter.startswith("layer_norm_") or module.endswith("norm"):
        return key
    return None


def add_transformer_engine_keys(state_dict: dict[str, Any]) -> None:
    """Add the entries that a Transformer Engine model asks for and a model without it has not.

    Args:
        state_dict: State dict to be saved, changed in place. Its sections ``model``, or ``model0``, ``model1`` of virtual
            pipeline stages, are sharded state dicts of models built without Transformer Engine.
    """
    for section, entries in state_dict.items():
        if section.startswith("model") and isinstance(entries, dict):
            _add_keys(entries)


def _add_keys(model_state_dict: dict[str, Any]) -> None:
    # A low-memory save has applied its factories: what they made stands in lists and dicts.
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
            # As Megatron Core shards an _extra_state: along the prepended (layer) axes alone.
            axes = tensor.prepend_axis_num
            model_state_dict[f"{name}@{module}._extra_state"] = ShardedObject(
                f"{module}._extra_state",
                torch.empty(0, dtype=torch.uint8),
                tensor.global_shape[:axes] or (1,),
                tensor.global_offset[:axes] or (0,),
                tensor.replica_id,
            )
