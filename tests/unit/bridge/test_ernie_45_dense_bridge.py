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

"""A dense ERNIE 4.5 config becomes a provider and a config again, and every tensor has a mapping in both directions."""

import pytest
from transformers import Ernie4_5Config

from megatron.bridge import AutoBridge
from megatron.bridge.models.ernie.ernie_45_dense_bridge import Ernie45DenseBridge


CONFIG = Ernie4_5Config(
    architectures=["Ernie4_5ForCausalLM"],
    head_dim=32,
    hidden_size=64,
    intermediate_size=96,
    num_attention_heads=4,
    num_hidden_layers=2,
    num_key_value_heads=2,
    vocab_size=500,
)
LAYER, HF_LAYER = "decoder.layers.1", "model.layers.1"


def _provider(**values):
    config = Ernie4_5Config(**CONFIG.to_dict() | values)
    return AutoBridge.from_hf_config(config).to_megatron_provider(load_weights=False)


def test_provider_has_the_values_of_the_config():
    provider = _provider()
    assert (provider.kv_channels, provider.num_query_groups, provider.ffn_hidden_size) == (32, 2, 96)
    assert (provider.rotary_interleaved, provider.rotary_base) == (True, 500000.0)
    assert (provider.add_bias_linear, provider.share_embeddings_and_output_weights) == (False, True)
    # The class has no fields for them.
    assert (provider.attention_dropout, provider.hidden_dropout) == (0.0, 0.0)


@pytest.mark.parametrize("values", [{}, {"use_bias": True}, {"tie_word_embeddings": False}])
def test_config_is_derived_from_the_provider(values):
    derived = Ernie4_5Config(**Ernie45DenseBridge.megatron_to_hf_config(_provider(**values)))
    names = ("architectures", "head_dim", "hidden_act", "hidden_size", "intermediate_size", "num_attention_heads")
    names += ("num_hidden_layers", "num_key_value_heads", "rms_norm_eps", "tie_word_embeddings", "use_bias")
    names += ("vocab_size",)
    expected = CONFIG.to_dict() | values
    assert {name: getattr(derived, name) for name in names} == {name: expected[name] for name in names}
    assert derived.rope_parameters == CONFIG.rope_parameters | {"partial_rotary_factor": 1.0}


@pytest.mark.parametrize(
    ("parameter", "tensors"),
    [
        ("input_layernorm.weight", "input_layernorm.weight"),
        ("self_attention.linear_qkv.layer_norm_weight", "input_layernorm.weight"),
        ("pre_mlp_layernorm.weight", "post_attention_layernorm.weight"),
        ("mlp.linear_fc1.layer_norm_weight", "post_attention_layernorm.weight"),
        *(
            case
            for kind in ("weight", "bias")
            for case in (
                (f"self_attention.linear_proj.{kind}", f"self_attn.o_proj.{kind}"),
                (f"self_attention.linear_qkv.{kind}", {name: f"self_attn.{name}_proj.{kind}" for name in "qkv"}),
                (f"mlp.linear_fc1.{kind}", {name: f"mlp.{name}_proj.{kind}" for name in ("gate", "up")}),
                (f"mlp.linear_fc2.{kind}", f"mlp.down_proj.{kind}"),
            )
        ),
    ],
)
def test_parameter_is_converted_from_its_tensors(parameter, tensors):
    mapping = Ernie45DenseBridge().mapping_registry().megatron_to_hf_lookup(f"{LAYER}.{parameter}")
    if isinstance(tensors, dict):
        tensors = {name: f"{HF_LAYER}.{tensor}" for name, tensor in tensors.items()}
    else:
        tensors = f"{HF_LAYER}.{tensors}"
    assert mapping.hf_param == tensors
