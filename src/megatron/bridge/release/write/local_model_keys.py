# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Keys of models of Megatron Core's own modules in checkpoints of models of Transformer Engine, and the other way round.

Both use the same keys, except for the norm before the experts of an MoE layer: Megatron Core's own layer specs use the key
of a norm that Transformer Engine fuses into the next layer, which it does for dense layers only. Read from
``gpt_layer_specs.py`` of megatron-core 0.19.2.
"""

from dataclasses import replace
from typing import Any

from megatron.core.dist_checkpointing import load_tensors_metadata
from megatron.core.dist_checkpointing.mapping import ShardedTensor

from megatron.bridge.release.compat.megatron_core_api import nested_values
from megatron.bridge.release.write.errors import LocalModelError


_NORM = "pre_mlp_layernorm."
_FUSED_NORM = "mlp.linear_fc1.layer_norm_"


def local_model_key(key: str) -> str | None:
    """Return the key of a norm in a model of Megatron Core's own modules, if it is another one; else None."""
    prefix, found, parameter = key.rpartition(_NORM)
    return f"{prefix}{_FUSED_NORM}{parameter}" if found and not parameter.startswith("_") else None


def add_local_model_keys(state_dict: dict[str, Any]) -> None:
    """Add the entries of models of Megatron Core's own modules to a state dict, in place.

    Its sections ``model``, or ``model0``, ``model1`` of virtual pipeline stages, are sharded state dicts of models.

    Raises:
        LocalModelError: If such a model is in it.
    """
    for section, entries in state_dict.items():
        if not section.startswith("model") or not isinstance(entries, dict):
            continue
        # A low-memory save has applied its factories, whose results are in lists and dicts.
        keys = [entry.key for entry in nested_values(entries) if hasattr(entry, "key")]
        if any(".layers." in key for key in keys) and not any(key.endswith("_extra_state") for key in keys):
            raise LocalModelError
        for name, tensor in list(entries.items()):
            if isinstance(tensor, ShardedTensor) and (key := local_model_key(tensor.key)) is not None:
                entries[f"{name}@{key}"] = replace(tensor, key=key)


def fit_to_checkpoint(state_dict: dict[str, Any], folder: str) -> None:
    """Let the state dict of a Transformer Engine model load the weights of a checkpoint of either kind, in place.

    Args:
        state_dict: As for `add_local_model_keys`.
        folder: Iteration directory.
    """
    stored = load_tensors_metadata(folder)
    for section, entries in state_dict.items():
        if not section.startswith("model") or not isinstance(entries, dict):
            continue
        for name, entry in list(entries.items()):
            if "._extra_state" in name:
                # Only FP8 has a state, and only trainings load it.
                del entries[name]
            elif isinstance(entry, ShardedTensor) and entry.key not in stored:
                key = local_model_key(entry.key)
                entries[name] = replace(entry, key=key) if key in stored else entry
