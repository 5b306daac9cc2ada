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

"""A Seed-OSS config becomes a provider and a config again, and every tensor has a mapping in both directions."""

import pytest
from transformers import SeedOssConfig

from megatron.bridge import AutoBridge
from megatron.bridge.models.seed_oss import SeedOssBridge


CONFIG = SeedOssConfig(
    architectures=["SeedOssForCausalLM"],
    attention_dropout=0.2,
    head_dim=32,
    hidden_size=64,
    intermediate_size=96,
    num_attention_heads=4,
    num_hidden_layers=2,
    num_key_value_heads=2,
    residual_dropout=0.3,
    vocab_size=500,
)
LAYER, HF_LAYER = "decoder.layers.1", "model.layers.1"


def _provider(**values):
    config = SeedOssConfig(**CONFIG.to_dict() | values)
    return AutoBridge.from_hf_config(config).to_megatron_provider(load_weights=False)


def test_provider_has_the_values_of_the_config():
    provider = _provider()
    assert (provider.kv_channels, provider.num_query_groups, provider.ffn_hidden_size) == (32, 2, 96)
    assert (provider.add_qkv_bias, provider.add_bias_linear) == (True, False)
    assert (provider.attention_dropout, provider.hidden_dropout) == (0.2, 0.3)


@pytest.mark.parametrize("values", [{}, {"attention_bias": False}, {"tie_word_embeddings": True}])
def test_config_is_derived_from_the_provider(values):
    derived = SeedOssConfig(**SeedOssBridge.megatron_to_hf_config(_provider(**values)))
    names = ("architectures", "attention_bias", "attention_dropout", "attention_out_bias", "head_dim", "hidden_act")
    names += ("hidden_size", "intermediate_size", "mlp_bias", "num_attention_heads", "num_hidden_layers")
    names += ("num_key_value_heads", "residual_dropout", "rms_norm_eps", "tie_word_embeddings", "vocab_size")
    expected = CONFIG.to_dict() | values
    assert {name: getattr(derived, name) for name in names} == {name: expected[name] for name in names}
    assert derived.rope_parameters == CONFIG.rope_parameters | {"partial_rotary_factor": 1.0}


@pytest.mark.parametrize("field", ["attention_out_bias", "mlp_bias"])
def test_biases_without_a_mapping_are_refused(field):
    with pytest.raises(ValueError, match=f"{field}=True"):
        _provider(**{field: True})


@pytest.mark.parametrize(
    ("parameter", "tensors"),
    [
        ("input_layernorm.weight", "input_layernorm.weight"),
        ("self_attention.linear_qkv.layer_norm_weight", "input_layernorm.weight"),
        ("pre_mlp_layernorm.weight", "post_attention_layernorm.weight"),
        ("mlp.linear_fc1.layer_norm_weight", "post_attention_layernorm.weight"),
        ("self_attention.linear_proj.weight", "self_attn.o_proj.weight"),
        ("self_attention.linear_qkv.weight", {name: f"self_attn.{name}_proj.weight" for name in "qkv"}),
        ("self_attention.linear_qkv.bias", {name: f"self_attn.{name}_proj.bias" for name in "qkv"}),
        ("mlp.linear_fc1.weight", {"gate": "mlp.gate_proj.weight", "up": "mlp.up_proj.weight"}),
        ("mlp.linear_fc2.weight", "mlp.down_proj.weight"),
    ],
)
def test_parameter_is_converted_from_its_tensors(parameter, tensors):
    mapping = SeedOssBridge().mapping_registry().megatron_to_hf_lookup(f"{LAYER}.{parameter}")
    if isinstance(tensors, dict):
        tensors = {name: f"{HF_LAYER}.{tensor}" for name, tensor in tensors.items()}
    else:
        tensors = f"{HF_LAYER}.{tensors}"
    assert mapping.hf_param == tensors
