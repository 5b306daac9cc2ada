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

"""A Phi-3 config becomes a provider and a config again, and every tensor has a mapping in both directions."""

from types import SimpleNamespace

import pytest
import torch
from transformers import Phi3Config

from megatron.bridge import AutoBridge
from megatron.bridge.models.conversion.param_mapping import GatedMLPMapping
from megatron.bridge.models.phi import Phi3Bridge


CONFIG = Phi3Config(
    architectures=["Phi3ForCausalLM"],
    attention_dropout=0.2,
    hidden_size=64,
    intermediate_size=96,
    num_attention_heads=4,
    num_hidden_layers=2,
    num_key_value_heads=2,
    resid_pdrop=0.3,
    rope_parameters={"rope_type": "default", "rope_theta": 250000.0, "partial_rotary_factor": 0.5},
    sliding_window=24,
    vocab_size=500,
)
LAYER, HF_LAYER = "decoder.layers.1", "model.layers.1"


def _provider(**values):
    config = Phi3Config(**CONFIG.to_dict() | values)
    return AutoBridge.from_hf_config(config).to_megatron_provider(load_weights=False)


def test_provider_has_the_values_of_the_config():
    provider = _provider()
    assert (provider.num_query_groups, provider.ffn_hidden_size, provider.window_size) == (2, 96, (23, 0))
    assert (provider.rotary_base, provider.rotary_percent) == (250000.0, 0.5)
    assert (provider.attention_dropout, provider.hidden_dropout) == (0.2, 0.3)


def test_provider_has_no_biases_when_the_config_has_fields_for_them():
    provider = _provider(attention_bias=True, mlp_bias=True)
    assert (provider.add_qkv_bias, provider.add_bias_linear) == (False, False)


@pytest.mark.parametrize("finalized", [False, True])
@pytest.mark.parametrize("values", [{}, {"head_dim": 32}, {"sliding_window": None}, {"tie_word_embeddings": True}])
def test_config_is_derived_from_the_provider(values, finalized):
    provider = _provider(**values)
    if finalized:
        provider.finalize()
    derived = Phi3Config(**Phi3Bridge.megatron_to_hf_config(provider))
    names = ("architectures", "attention_dropout", "hidden_act", "hidden_size", "intermediate_size")
    names += ("num_attention_heads", "num_hidden_layers", "num_key_value_heads", "resid_pdrop", "rms_norm_eps")
    names += ("rope_parameters", "sliding_window", "tie_word_embeddings", "vocab_size")
    expected = CONFIG.to_dict() | values
    assert {name: getattr(derived, name) for name in names} == {name: expected[name] for name in names}
    assert getattr(derived, "head_dim", 16) == values.get("head_dim", 16)


def test_longrope_is_refused():
    rope = {"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0] * 8, "long_factor": [2.0] * 8}
    with pytest.raises(ValueError, match="rope_type='longrope'"):
        _provider(rope_parameters=rope)


@pytest.mark.parametrize(
    ("parameter", "tensor"),
    [
        ("input_layernorm.weight", "input_layernorm.weight"),
        ("self_attention.linear_qkv.layer_norm_weight", "input_layernorm.weight"),
        ("pre_mlp_layernorm.weight", "post_attention_layernorm.weight"),
        ("mlp.linear_fc1.layer_norm_weight", "post_attention_layernorm.weight"),
        ("self_attention.linear_proj.weight", "self_attn.o_proj.weight"),
        ("self_attention.linear_qkv.weight", "self_attn.qkv_proj.weight"),
        ("mlp.linear_fc1.weight", "mlp.gate_up_proj.weight"),
        ("mlp.linear_fc2.weight", "mlp.down_proj.weight"),
    ],
)
def test_parameter_is_converted_from_its_tensor(parameter, tensor):
    mapping = Phi3Bridge().mapping_registry().megatron_to_hf_lookup(f"{LAYER}.{parameter}")
    assert mapping.hf_param == f"{HF_LAYER}.{tensor}"


def test_each_rank_has_its_part_of_gate_and_up(monkeypatch):
    """At tensor parallel size 2, a part of the whole tensor would be the gate alone."""
    parts = []
    monkeypatch.setattr(GatedMLPMapping, "tp_size", 2)
    monkeypatch.setattr(GatedMLPMapping, "tp_rank", 0)
    monkeypatch.setattr(GatedMLPMapping, "scatter_to_tp_ranks", lambda self, splits, *_: parts.extend(splits))
    monkeypatch.setattr(GatedMLPMapping, "gather_from_tp_ranks", lambda self, part: parts)
    monkeypatch.setattr(GatedMLPMapping, "broadcast_from_pp_rank", lambda self, part, **_: part)
    mapping = Phi3Bridge().mapping_registry().megatron_to_hf_lookup(f"{LAYER}.mlp.linear_fc1.weight")
    tensor = torch.arange(16.0).reshape(8, 2)
    module = SimpleNamespace(weight=torch.empty(4, 2), config=None)
    mapping.hf_to_megatron(tensor, module)
    assert [part[:, 0].tolist() for part in parts] == [[0.0, 2.0, 8.0, 10.0], [4.0, 6.0, 12.0, 14.0]]
    (exported,) = mapping.megatron_to_hf(parts[0], module).items()
    assert exported[0] == f"{HF_LAYER}.mlp.gate_up_proj.weight" and torch.equal(exported[1], tensor)
