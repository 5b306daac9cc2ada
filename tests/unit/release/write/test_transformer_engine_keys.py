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

"""A norm's key in a Transformer Engine model follows from the keys beside it."""

import pytest
import torch
from megatron.core.dist_checkpointing.mapping import ShardedObject, ShardedTensor

from megatron.bridge.release.write.transformer_engine_keys import (
    add_transformer_engine_keys,
    transformer_engine_norm_key,
)


L = "decoder.layers."
DENSE = {f"{L}mlp.linear_fc1.weight"}
MLA = DENSE | {f"{L}self_attention.linear_q_up_proj.weight", f"{L}self_attention.linear_kv_up_proj.weight"}


@pytest.mark.parametrize(
    ("key", "beside", "expected"),
    [
        # A dense layer's norms are mapped to the linear layers already.
        (f"{L}mlp.linear_fc1.layer_norm_weight", DENSE, f"{L}mlp.linear_fc1.layer_norm_weight"),
        (f"{L}self_attention.linear_qkv.layer_norm_weight", DENSE, f"{L}self_attention.linear_qkv.layer_norm_weight"),
        # An MoE layer has no linear_fc1 of its own to fuse with.
        (f"{L}mlp.linear_fc1.layer_norm_weight", set(), f"{L}pre_mlp_layernorm.weight"),
        (f"{L}mlp.linear_fc1.layer_norm_bias", set(), f"{L}pre_mlp_layernorm.bias"),
        # Multi-latent attention maps nothing.
        (f"{L}pre_mlp_layernorm.weight", MLA, f"{L}mlp.linear_fc1.layer_norm_weight"),
        (f"{L}pre_mlp_layernorm.weight", MLA - DENSE, f"{L}pre_mlp_layernorm.weight"),
        (f"{L}self_attention.q_layernorm.weight", MLA, f"{L}self_attention.linear_q_up_proj.layer_norm_weight"),
        (f"{L}self_attention.kv_layernorm.weight", MLA, f"{L}self_attention.linear_kv_up_proj.layer_norm_weight"),
        (f"{L}input_layernorm.weight", MLA, f"{L}input_layernorm.weight"),
        # q and k norms of ordinary attention are modules of their own.
        (f"{L}self_attention.q_layernorm.weight", DENSE, f"{L}self_attention.q_layernorm.weight"),
        ("decoder.final_layernorm.weight", DENSE, "decoder.final_layernorm.weight"),
        # Not a norm.
        ("embedding.word_embeddings.weight", DENSE, None),
        (f"{L}mlp.linear_fc1.weight", DENSE, None),
        (f"{L}mlp.router.weight", set(), None),
    ],
)
def test_transformer_engine_norm_key_depends_on_layer_keys(key, beside, expected):
    assert transformer_engine_norm_key(key, beside | {key}) == expected


def _norm(key: str, layer: int | None = None) -> ShardedTensor:
    offsets = [] if layer is None else [(0, layer, 4)]
    return ShardedTensor.from_rank_offsets(
        key, torch.ones(8), *offsets, replica_id=(0, 0, 0), prepend_axis_num=len(offsets)
    )


def test_extra_state_is_empty_and_sharded_by_layer():
    state = {"final": _norm("decoder.final_layernorm.weight"), "q": _norm(f"{L}self_attention.q_layernorm.weight", 2)}
    add_transformer_engine_keys({"model": state})
    added = {entry.unique_key: entry for entry in state.values() if isinstance(entry, ShardedObject)}
    assert set(added) == {
        "decoder.final_layernorm._extra_state/shard_0_1",
        f"{L}self_attention.q_layernorm._extra_state/shard_2_4",
    }
    assert all(entry.data.dtype == torch.uint8 and entry.data.numel() == 0 for entry in added.values())


def test_original_norm_keys_are_kept_next_to_aliases():
    norm = _norm(f"{L}mlp.linear_fc1.layer_norm_weight", 1)
    state = {"norm": norm}
    add_transformer_engine_keys({"model": state})
    assert state["norm"] is norm
    alias = next(entry for entry in state.values() if entry.key == f"{L}pre_mlp_layernorm.weight")
    assert alias.data is norm.data and alias.global_offset == norm.global_offset


def test_second_call_adds_no_transformer_engine_keys():
    state = {"final": _norm("decoder.final_layernorm.weight")}
    add_transformer_engine_keys({"model": state})
    once = dict(state)
    add_transformer_engine_keys({"model": state})
    assert state == once
