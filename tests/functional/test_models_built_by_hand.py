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

"""A model that was built by hand is saved as the release of its source where it computes what that does, or not at all."""

from typing import Any
from unittest.mock import ANY

import pytest
import torch
from expected_errors import Containing, raises
from odd_models import make_odd, with_more
from roots import stored_args
from transformers import AutoConfig

from megatron.bridge import AutoBridge
from megatron.bridge.models.hf_pretrained.causal_lm import PreTrainedCausalLM
from megatron.bridge.release.validation.errors import ModelDifferenceError
from megatron.bridge.release.validation.model_errors import (
    NonFiniteError,
    TensorMismatchError,
    UnexpectedTensorsProblem,
    UnsupportedConfigError,
)
from megatron.bridge.release.verify.check import check
from megatron.bridge.release.verify.weights import compare
from megatron.bridge.training.model_load_save import save_megatron_model, temporary_distributed_context


def test_save_is_refused_when_source_has_unexpected_tensors(families, tmp_path):
    hf = make_odd(families("Llama 2"), tmp_path, with_more(self_attn__q_norm__weight=(16,)), {})
    bridge = AutoBridge.from_hf_pretrained(hf)
    names = tuple(f"model.layers.{layer}.self_attn.q_norm.weight" for layer in range(2))
    with raises(TensorMismatchError(hf, (UnexpectedTensorsProblem(names, ANY),))):
        bridge.save_megatron_model([], tmp_path / "root", hf_tokenizer_path=hf, release=True)
    assert not (tmp_path / "root").exists()


def _built(bridge: AutoBridge, **fields: Any) -> list:
    """Build a model by hand, as upstream's documentation does."""
    provider = bridge.to_megatron_provider(load_weights=isinstance(bridge.hf_pretrained, PreTrainedCausalLM))
    for name, value in fields.items():
        setattr(provider, name, value)
    provider.finalize()
    return provider.provide_distributed_model(wrap_with_ddp=False, use_cpu_initialization=True)


_EXPERTS = "Qwen3-MoE (experts, qk-norm)"

# Family, fields of the provider, and the differences.
OTHERS: dict[str, tuple[str, dict[str, Any], tuple[Containing, ...]]] = {
    "another epsilon": ("Llama 2", {"layernorm_epsilon": 0.1}, (Containing("layernorm_epsilon", "0.1", "1e-05"),)),
    "another base": ("Llama 2", {"rotary_base": 500000}, (Containing("rotary_base", "500000", "10000"),)),
    "another activation": (
        "Llama 2",
        {"activation_func": torch.nn.functional.gelu},
        (Containing("swiglu", "False", "True"), Containing("activation_func")),
    ),
    "a softmax scale of its own": ("Llama 2", {"softmax_scale": 0.5}, (Containing("softmax_scale"),)),
    "jitter": (_EXPERTS, {"moe_input_jitter_eps": 0.5}, (Containing("moe_input_jitter_eps", "0.5", "None"),)),
    "another method of routing": (
        _EXPERTS,
        {"moe_router_load_balancing_type": "sinkhorn"},
        (Containing("moe_router_load_balancing_type", "('sinkhorn',)", "()"),),
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_save_is_refused_when_logits_differ_from_source_model(families, tmp_path, name):
    family, fields, differences = OTHERS[name]
    hf = families(family)
    bridge = AutoBridge.from_hf_pretrained(hf)
    with temporary_distributed_context(backend="gloo"):
        model = _built(bridge, **fields)
        with raises(ModelDifferenceError(str(hf), differences)):
            bridge.save_megatron_model(model, tmp_path / "root", hf_tokenizer_path=hf, release=True)
        assert not (tmp_path / "root").exists()
        # A model of one's own is published as such.
        save_megatron_model(model, tmp_path / "root", hf_tokenizer_path=hf, release=True)
    assert not check(tmp_path / "root").problems


def test_model_built_for_training_matches_source_tensors(families, tmp_path):
    hf = families("Llama 2")
    bridge = AutoBridge.from_hf_pretrained(hf)
    with temporary_distributed_context(backend="gloo"):
        model = _built(bridge, seq_length=32, attention_dropout=0.1, hidden_dropout=0.1)
        bridge.save_megatron_model(model, tmp_path / "root", hf_tokenizer_path=hf, release=True)
    assert stored_args(tmp_path / "root").seq_length == 32
    equal, problems = compare(tmp_path / "root/release", str(hf))
    assert problems == [] and equal == 21


def test_save_is_refused_when_parameter_contains_nan(families, tmp_path):
    hf = families("Llama 2")
    bridge = AutoBridge.from_hf_pretrained(hf)
    with temporary_distributed_context(backend="gloo"):
        model = _built(bridge)
        with torch.no_grad():
            model[0].module.output_layer.weight[3, 5] = float("nan")
        with raises(NonFiniteError("output_layer.weight", "NaN", "bfloat16")):
            bridge.save_megatron_model(model, tmp_path / "root", hf_tokenizer_path=hf, release=True)
    assert not (tmp_path / "root/release").exists()


def test_save_from_config_is_refused_when_field_is_unsupported(families, tmp_path):
    config = AutoConfig.from_pretrained(families("Llama 2"))
    config.hidden_act = "gelu"
    bridge = AutoBridge.from_hf_config(config)
    with temporary_distributed_context(backend="gloo"):
        with raises(UnsupportedConfigError(ANY, (Containing("hidden_act='gelu'"),))):
            bridge.save_megatron_model(_built(bridge), tmp_path / "root", release=True)
    assert not (tmp_path / "root").exists()
