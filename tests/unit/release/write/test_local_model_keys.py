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

"""Tests of local_model_keys: a checkpoint has the keys of models with and without Transformer Engine."""

import pytest
import torch
from expected_errors import raises
from megatron.core.dist_checkpointing.mapping import ShardedObject, ShardedTensor

from megatron.bridge.release.write import local_model_keys
from megatron.bridge.release.write.errors import LocalModelError
from megatron.bridge.release.write.local_model_keys import add_local_model_keys, fit_to_checkpoint, local_model_key


L = "decoder.layers."
NORM, LOCAL_NORM = f"{L}pre_mlp_layernorm.weight", f"{L}mlp.linear_fc1.layer_norm_weight"


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (NORM, LOCAL_NORM),
        (f"{L}3.pre_mlp_layernorm.bias", f"{L}3.mlp.linear_fc1.layer_norm_bias"),
        (f"{L}pre_mlp_layernorm._extra_state", None),
        # Both kinds of model have these.
        (LOCAL_NORM, None),
        (f"{L}input_layernorm.weight", None),
        (f"{L}self_attention.q_layernorm.weight", None),
        ("decoder.final_layernorm.weight", None),
        ("embedding.word_embeddings.weight", None),
    ],
)
def test_norm_before_experts_has_another_local_key(key, expected):
    assert local_model_key(key) == expected


def _tensor(key: str) -> ShardedTensor:
    return ShardedTensor.from_rank_offsets(key, torch.ones(8), (0, 1, 4), replica_id=(0, 0, 0), prepend_axis_num=1)


def _extra_state(module: str) -> ShardedObject:
    return ShardedObject(f"{module}._extra_state", torch.empty(0), (4,), (1,))


@pytest.mark.parametrize("section", ["model", "model1"])
def test_local_key_is_added_next_to_the_norm(section):
    norm, other = _tensor(NORM), _tensor(f"{L}mlp.router.weight")
    state = {section: {"norm": norm, "other": other, "extra": _extra_state(f"{L}pre_mlp_layernorm")}, "args": None}
    add_local_model_keys(state)
    added = state[section].keys() - {"norm", "other", "extra"}
    (alias,) = (state[section][name] for name in added)
    assert (alias.key, alias.data is norm.data, alias.global_offset) == (LOCAL_NORM, True, norm.global_offset)
    assert state[section]["norm"] is norm


def test_dense_model_gets_no_other_keys():
    entries = {"norm": _tensor(LOCAL_NORM), "extra": _extra_state(f"{L}mlp.linear_fc1")}
    state = {"model": dict(entries)}
    add_local_model_keys(state)
    assert state == {"model": entries}


def test_model_without_transformer_engine_is_refused():
    with raises(LocalModelError()):
        add_local_model_keys({"model": {"norm": _tensor(LOCAL_NORM)}})


def test_pipeline_stage_without_layers_passes():
    add_local_model_keys({"model": {"embedding": _tensor("embedding.word_embeddings.weight")}})


def test_weights_of_a_local_model_load_by_their_keys(monkeypatch):
    monkeypatch.setattr(local_model_keys, "load_tensors_metadata", lambda folder: {LOCAL_NORM: None, "a": None})
    entries = {
        "norm": _tensor(NORM),
        "a": _tensor("a"),
        "missing": _tensor("missing"),
        "norm._extra_state": _extra_state(f"{L}pre_mlp_layernorm"),
    }
    state = {"model": dict(entries), "optimizer": {"norm": entries["norm"]}}
    fit_to_checkpoint(state, "folder")
    assert {name: entry.key for name, entry in state["model"].items()} == {
        "norm": LOCAL_NORM,
        "a": "a",
        # The load reports it.
        "missing": "missing",
    }
    assert state["optimizer"] == {"norm": entries["norm"]}


def test_weights_of_a_transformer_engine_model_keep_their_keys(monkeypatch):
    monkeypatch.setattr(local_model_keys, "load_tensors_metadata", lambda folder: {NORM: None, LOCAL_NORM: None})
    state = {"model": {"norm": _tensor(NORM)}}
    fit_to_checkpoint(state, "folder")
    assert state["model"]["norm"].key == NORM
