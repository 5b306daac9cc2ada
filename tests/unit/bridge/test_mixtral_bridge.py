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

"""A Mixtral config becomes a provider and a config again, and every tensor has a mapping in both directions."""

import pytest
from transformers import MixtralConfig

from megatron.bridge import AutoBridge
from megatron.bridge.models.mixtral import MixtralBridge


CONFIG = MixtralConfig(
    architectures=["MixtralForCausalLM"],
    hidden_size=64,
    intermediate_size=96,
    num_attention_heads=4,
    num_experts_per_tok=3,
    num_hidden_layers=2,
    num_key_value_heads=2,
    num_local_experts=4,
    router_aux_loss_coef=0.02,
    sliding_window=24,
    vocab_size=500,
)
LAYER, HF_LAYER = "decoder.layers.1", "model.layers.1"


def test_provider_has_the_values_of_the_config():
    provider = AutoBridge.from_hf_config(CONFIG).to_megatron_provider(load_weights=False)
    assert (provider.num_moe_experts, provider.moe_router_topk, provider.moe_ffn_hidden_size) == (4, 3, 96)
    assert (provider.moe_router_pre_softmax, provider.moe_aux_loss_coeff) == (False, 0.02)
    assert provider.window_size == (23, 0)


@pytest.mark.parametrize("window", [None, 24])
def test_config_is_derived_from_the_provider(window):
    config = MixtralConfig(**CONFIG.to_dict() | {"sliding_window": window})
    provider = AutoBridge.from_hf_config(config).to_megatron_provider(load_weights=False)
    derived = MixtralBridge.megatron_to_hf_config(provider)
    names = ("hidden_size", "intermediate_size", "num_experts_per_tok", "num_local_experts", "sliding_window")
    assert {name: derived[name] for name in names} == {name: getattr(config, name) for name in names}


@pytest.mark.parametrize(
    ("parameter", "tensors"),
    [
        ("mlp.router.weight", "block_sparse_moe.gate.weight"),
        ("pre_mlp_layernorm.weight", "post_attention_layernorm.weight"),
        ("mlp.experts.linear_fc2.weight3", "block_sparse_moe.experts.3.w2.weight"),
        ("mlp.experts.local_experts.3.linear_fc2.weight", "block_sparse_moe.experts.3.w2.weight"),
        (
            "mlp.experts.local_experts.3.linear_fc1.weight",
            {"gate": "block_sparse_moe.experts.3.w1.weight", "up": "block_sparse_moe.experts.3.w3.weight"},
        ),
    ],
)
def test_parameter_is_converted_from_its_tensors(parameter, tensors):
    mapping = MixtralBridge().mapping_registry().megatron_to_hf_lookup(f"{LAYER}.{parameter}")
    if isinstance(tensors, dict):
        tensors = {name: f"{HF_LAYER}.{tensor}" for name, tensor in tensors.items()}
    else:
        tensors = f"{HF_LAYER}.{tensors}"
    assert mapping.hf_param == tensors
