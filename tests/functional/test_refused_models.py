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

"""Models that are not what their config says are refused, in one line and before any weight is read."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from models import FAMILIES
from odd_models import ATTENTION, YARN, Tensors, assert_refused, make_odd, with_more, without


_LLAMA3 = FAMILIES["Llama 3.1 (rope scaling)"].config.rope_parameters


def _renamed(old: str, new: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {new + name.removeprefix(old): tensor for name, tensor in tensors.items()}


def _projections(change: Callable[[torch.Tensor], torch.Tensor], suffix: str = "") -> Callable[[Tensors], Tensors]:
    """Quantize the projections, and give each a scale where there is a suffix for its name."""

    def quantize(tensors: Tensors) -> Tensors:
        names = [name for name in tensors if "_proj" in name]
        scales = {f"{name}{suffix}": torch.ones(1, 1) for name in names} if suffix else {}
        return tensors | {name: change(tensors[name]) for name in names} | scales

    return quantize


def _gptq(tensors: Tensors) -> Tensors:
    whole = {name: tensor for name, tensor in tensors.items() if "_proj" not in name}
    parts = {
        name.replace("weight", part): torch.zeros(8, 8, dtype=torch.int32)
        for name in tensors
        for part in ("qweight", "qzeros", "scales", "g_idx")
        if "_proj" in name
    }
    return whole | parts


def _shaped(**shapes: tuple[int, ...]) -> Callable[[Tensors], Tensors]:
    changed = {f"model.layers.0.{name.replace('__', '.')}": torch.ones(shape) for name, shape in shapes.items()}
    return lambda tensors: tensors | changed


_FP8 = torch.float8_e4m3fn
_LAYERS = "model.layers.0…1."


def _fused_experts(tensors: Tensors) -> Tensors:
    """Fuse experts as transformers 5 has them in memory."""
    whole = {name: tensor for name, tensor in tensors.items() if ".experts." not in name}
    for name in [name for name in tensors if ".experts.0.gate_proj" in name]:
        prefix, count = (
            name.partition("0.gate_proj")[0],
            sum(name.partition("0.gate")[0] in one for one in tensors) // 3,
        )
        parts = {kind: [tensors[f"{prefix}{at}.{kind}.weight"] for at in range(count)] for kind in _PROJECTIONS}
        pairs = zip(parts["gate_proj"], parts["up_proj"])
        whole[f"{prefix}gate_up_proj"] = torch.stack([torch.cat(pair) for pair in pairs])
        whole[f"{prefix}down_proj"] = torch.stack(parts["down_proj"])
    return whole


_PROJECTIONS = ("gate_proj", "up_proj", "down_proj")


def _resized_embedding(tensors: Tensors) -> Tensors:
    """Add ten tokens, as PEFT saves them where the config is the base model's."""
    return tensors | {
        name: torch.cat([tensors[name], torch.ones(10, tensors[name].shape[1])])
        for name in ("model.embed_tokens.weight", "lm_head.weight")
    }


def _placeholders(tensors: Tensors) -> Tensors:
    """Empty the tensors, as DeepSpeed ZeRO-3 saves parameters that it has partitioned."""
    return {name: torch.empty(0) for name in tensors}


# Family, what is done to the tensors, what the config says otherwise, what the error says.
REFUSED: dict[str, tuple[str, Callable[[Tensors], Tensors] | None, dict[str, Any], str]] = {
    "a tensor missing": (
        "Llama 2",
        without(f"{ATTENTION}q_proj.weight"),
        {},
        f"Missing tensors: {ATTENTION}q_proj.weight",
    ),
    "no norm": ("Llama 2", without("model.norm.weight"), {}, "Missing tensors: model.norm.weight"),
    "no embedding": (
        "Qwen2.5 (QKV bias, tied)",
        without("model.embed_tokens.weight"),
        {},
        "model.embed_tokens.weight",
    ),
    "no output layer": (
        "Llama 2",
        without("lm_head.weight"),
        {},
        "Missing tensors: lm_head.weight.*tie_word_embeddings",
    ),
    "an expert missing": (
        "Qwen3-MoE (experts, qk-norm)",
        without("model.layers.1.mlp.experts.3.up_proj.weight"),
        {},
        "Missing tensors: model.layers.1.mlp.experts.3.up_proj.weight",
    ),
    "a bias missing": (
        "Qwen2 (QKV bias)",
        without(f"{ATTENTION}k_proj.bias"),
        {},
        f"Missing tensors: {ATTENTION}k_proj.bias",
    ),
    "more layers in the config": (
        "Llama 2",
        None,
        {"num_hidden_layers": 4},
        r"model.layers.2…3.mlp.down_proj.weight \(2\).*declares 4 layers; the weights contain 2",
    ),
    "fewer layers in the config": (
        "Llama 2",
        None,
        {"num_hidden_layers": 1},
        "Unexpected tensors: .*declares 1 layers",
    ),
    "no prefix": ("Llama 2", _renamed("model.", ""), {}, r"unexpected prefix \(found .*, expected model"),
    "another prefix": (
        "Llama 2",
        _renamed("", "x."),
        {},
        r"unexpected prefix \(found x.lm_head.weight, expected lm_head.weight\)",
    ),
    "q_norm in a Llama": (
        "Llama 2",
        with_more(self_attn__q_norm__weight=(16,)),
        {},
        rf"Unexpected tensors: {_LAYERS}self_attn.q_norm.weight \(2\)",
    ),
    "a bias that the config does not name": (
        "Llama 2",
        with_more(self_attn__q_proj__bias=(64,)),
        {},
        rf"Unexpected tensors: {_LAYERS}self_attn.q_proj.bias \(2\)",
    ),
    "an adapter": (
        "Llama 2",
        with_more(self_attn__q_proj__lora_A__weight=(4, 64)),
        {},
        "These are LoRA weights. Merge them",
    ),
    "GPTQ": ("Llama 2", _gptq, {"quantization_config": {"quant_method": "gptq", "bits": 4}}, r"quantized \(gptq\)"),
    "compressed-tensors": (
        "Qwen3 (qk-norm)",
        _projections(lambda tensor: tensor.to(_FP8), "_scale"),
        {"quantization_config": {"quant_method": "compressed-tensors"}},
        r"quantized \(compressed-tensors\)",
    ),
    "FP8 in blocks": (
        "Qwen3 (qk-norm)",
        _projections(lambda tensor: tensor.to(_FP8), "_scale_inv"),
        {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}},
        r"quantized \(fp8\)",
    ),
    "FP8 without quantization_config": (
        "Llama 2",
        _projections(lambda tensor: tensor.to(_FP8)),
        {},
        "Unsupported quantization",
    ),
    "int8 without quantization_config": (
        "Llama 2",
        _projections(lambda tensor: tensor.to(torch.int8)),
        {},
        "Unsupported quantization",
    ),
    "another hidden size": (
        "Llama 2",
        None,
        {"hidden_size": 128, "head_dim": 16},
        r"is \[64\], config.json implies \[128\]",
    ),
    "another MLP": ("Llama 2", None, {"intermediate_size": 100}, r"is \[96, 64\], config.json implies \[100, 64\]"),
    "other groups": (
        "Llama 2",
        None,
        {"num_key_value_heads": 2},
        r"k_proj.weight.* is \[64, 64\], config.json implies \[32, 64\]",
    ),
    "other experts": ("Qwen3-MoE (experts, qk-norm)", None, {"num_local_experts": 8, "num_experts": 8}, "experts.4…7"),
    "fused experts": (
        "Qwen3-MoE (experts, qk-norm)",
        _fused_experts,
        {},
        r"experts of a layer are fused into one tensor \(model.layers.0.mlp.experts.* save it with save_pretrained",
    ),
    "placeholders of ZeRO-3": ("Llama 2", _placeholders, {}, "are empty: DeepSpeed ZeRO-3 .* zero_to_fp32.py"),
    "a resized embedding": (
        "Llama 2",
        _resized_embedding,
        {},
        r"is \[510, 64\], config.json implies \[500, 64\]\. The embedding may have been resized.*set vocab_size in config.json to 510",
    ),
    "a larger vocabulary": ("Llama 2", None, {"vocab_size": 512}, r"is \[500, 64\], config.json implies \[512, 64\]"),
    "gate and up of sizes that add up": (
        "Llama 2",
        _shaped(mlp__gate_proj__weight=(90, 64), mlp__up_proj__weight=(102, 64)),
        {},
        r"gate_proj.weight is \[90, 64\], config.json implies \[96, 64\]; .*up_proj.weight is \[102, 64\]",
    ),
    "a transposed projection": (
        "Llama 2",
        _shaped(mlp__down_proj__weight=(96, 64)),
        {},
        r"down_proj.weight is \[96, 64\], config.json implies \[64, 96\]",
    ),
    "a norm that is one number": (
        "Llama 2",
        lambda tensors: tensors | {"model.norm.weight": torch.tensor(1.0)},
        {},
        r"model.norm.weight is \[\], config.json implies \[64\]",
    ),
    "a complex norm": (
        "Llama 2",
        lambda tensors: tensors | {"model.norm.weight": torch.ones(64, dtype=torch.complex64)},
        {},
        r"Unsupported dtype \(C64\): model.norm.weight.$",
    ),
    "a number that is a string": (
        "Llama 2",
        None,
        {"rms_norm_eps": "1e-6"},
        "transformers cannot read .*config.json: .*rms_norm_eps",
    ),
    "no layers": ("Llama 2", None, {"num_hidden_layers": 0}, "cannot build a model from the config"),
    "two rope types": (
        "Llama 2",
        None,
        {"rope_parameters": {"type": "yarn", "rope_type": "default", "rope_theta": 10000.0, "factor": 4.0}},
        "has type='yarn' and rope_type='default'",
    ),
    "another model type": (
        "Llama 2",
        None,
        {"model_type": "mistral"},
        "architecture of model_type 'mistral' is MistralForCausalLM",
    ),
    "not causal": ("Llama 2", None, {"is_causal": False}, "is_causal=False is not supported"),
    "perhaps causal": ("Llama 2", None, {"is_causal": None}, "is_causal=None is not supported"),
    "layer types that make it another family's": (
        "Mistral (sliding window)",
        None,
        {"layer_types": ["full_attention", "sliding_attention"]},
        "model_type 'ministral' is MinistralForCausalLM, not Mistral",
    ),
    "a truth for a number": (
        "Llama 3.1 (rope scaling)",
        None,
        {"rope_parameters": _LLAMA3 | {"factor": True}},
        "rope_parameters.factor=True",
    ),
    "no probability": ("Llama 2", None, {"attention_dropout": float("nan")}, "attention_dropout=nan"),
    "yarn of the base 1": (
        "Llama 2",
        None,
        {"rope_parameters": YARN | {"rope_theta": 1}},
        "rope_parameters.rope_theta=1",
    ),
    "yarn with a truth for a number": (
        "Llama 2",
        None,
        {"rope_parameters": YARN | {"beta_fast": True}},
        "rope_parameters.beta_fast=True",
    ),
    "a field that Bridge alone reads": (
        "Qwen3-MoE (experts, qk-norm)",
        None,
        {"routed_scaling_factor": 2.5},
        "routed_scaling_factor=2.5 is applied by Megatron-Bridge",
    ),
    "a negative base": (
        "Llama 2",
        None,
        {"rope_parameters": {"rope_type": "default", "rope_theta": -10000.0}},
        "rope_theta=-10000.0",
    ),
    "more experts for a token than there are": (
        "Qwen3-MoE (experts, qk-norm)",
        None,
        {"num_experts_per_tok": 5},
        "num_experts_per_tok=5",
    ),
    "a tied model without its embedding": (
        "Llama 2",
        without("model.embed_tokens.weight"),
        {"tie_word_embeddings": True},
        "Missing tensors: model.embed_tokens.weight",
    ),
    "a tied head that differs": ("Llama 2", None, {"tie_word_embeddings": True}, "lm_head.weight differs from"),
    "float64 in the config": ("Llama 2", None, {"dtype": "float64"}, "Unsupported dtype: float64"),
    "a tied head in float32 that differs": (
        "Qwen2.5 (QKV bias, tied)",
        lambda tensors: tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"].float() * (1 + 2**-20)},
        {},
        "lm_head.weight differs from",
    ),
    "a tied pair that is one number each": (
        "Qwen2.5 (QKV bias, tied)",
        lambda tensors: (
            tensors | {name: torch.tensor(1.0) for name in ("lm_head.weight", "model.embed_tokens.weight")}
        ),
        {},
        r"embed_tokens.weight is \[\], config.json implies \[500, 64\]",
    ),
    "a name of two lines": (
        "Llama 2",
        lambda tensors: tensors | {"a\nb": torch.ones(1)},
        {},
        r"Unexpected tensors: 'a\\nb'\. ",
    ),
    "no name": ("Llama 2", lambda tensors: tensors | {"": torch.ones(1)}, {}, r"Unexpected tensors: ''\. "),
    "silu by another name": (
        "Llama 2",
        None,
        {"hidden_act": "swish"},
        "hidden_act='swish'.*is an alias of",
    ),
    "yarn without a factor": (
        "Llama 2",
        None,
        {"rope_parameters": YARN | {"factor": None}},
        "factor=None.*transformers defaults to 32.0",
    ),
    "another attention factor": (
        "Llama 2",
        None,
        {"rope_parameters": YARN | {"attention_factor": 1.1386}},
        "attention_factor=1.1386",
    ),
    "a text_config that is none": (
        "Llama 2",
        None,
        {"text_config": {}},
        "contains a nested text config, which llama models do not have",
    ),
    "an odd head": (
        "Llama 2",
        lambda tensors: {
            name: torch.ones(60, 64)
            if name.split(".")[-2] in ("q_proj", "k_proj", "v_proj")
            # The output projection is as wide as the heads are.
            else torch.ones(64, 60)
            if "o_proj" in name
            else tensor
            for name, tensor in tensors.items()
        },
        {"head_dim": 15},
        "implies heads of size 15, but rotary embeddings require an even size",
    ),
    "padding beyond the vocabulary": (
        "Llama 2",
        None,
        {"pad_token_id": 500},
        "sets pad_token_id to 500, .*vocab_size 500",
    ),
    "a quantization of plain weights": (
        "Llama 2",
        None,
        {"quantization_config": {"quant_method": "gptq", "bits": 4}},
        r"has a quantization_config \(gptq\), .* the weights are not quantized.* remove quantization_config",
    ),
    "a quantization without a method": (
        "Llama 2",
        None,
        {"quantization_config": {"bits": 4}},
        r"has a quantization_config \(an unnamed method\)",
    ),
    "a type that no release has": ("Llama 2", None, {"dtype": "int4"}, "Unsupported dtype: int4"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_is_not_what_its_config_says_is_refused(families, tmp_path, name):
    family, tensors, config, match = REFUSED[name]
    assert_refused(make_odd(families(family), tmp_path, tensors, config), tmp_path / "root", match)
