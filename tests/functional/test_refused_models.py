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

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest.mock import ANY

import pytest
import torch
from expected_errors import Containing
from models import FAMILIES
from odd_models import ATTENTION, YARN, Tensors, assert_refused, make_odd, with_more, without

from megatron.bridge.release.errors import ReleaseError
from megatron.bridge.release.validation.errors import ConfigRejectedError, UnsupportedDtypeError
from megatron.bridge.release.validation.model_errors import (
    HeadSizeError,
    MissingTensorsProblem,
    ModelBuildError,
    NestedConfigError,
    NotQuantizedProblem,
    PadTokenError,
    QuantizationProblem,
    ShapeProblem,
    TensorDtypeProblem,
    TensorMismatchError,
    TiedOutputProblem,
    UnexpectedTensorsProblem,
    UnsupportedConfigError,
)


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


def _missing(names: Any, hint: Any = ANY) -> TensorMismatchError:
    return TensorMismatchError(ANY, (MissingTensorsProblem(names, hint),))


def _unexpected(names: Any, hint: Any = ANY) -> TensorMismatchError:
    return TensorMismatchError(ANY, (UnexpectedTensorsProblem(names, hint),))


def _unsupported(*facts: str) -> UnsupportedConfigError:
    """Expect one unsupported field, and no other error of the model."""
    return UnsupportedConfigError(ANY, (Containing(*facts),), None)


@dataclass(eq=False)
class _Shapes:
    """Equal to the `names` of a `ShapeProblem` that contain these tensors, with their shape and the expected one."""

    shapes: dict[str, tuple[list[int], list[int]]]
    total: int

    def __eq__(self, names: object) -> bool:
        shapes = {
            name: tuple(map(json.loads, re.findall(r"\[.*?\]", mismatch)))
            for mismatch, tensors in names.items()
            for name in tensors
        }
        return len(shapes) == self.total and shapes.items() >= self.shapes.items()


def _misshapen(
    shapes: dict[str, tuple[list[int], list[int]]], hint: Any = ANY, total: int | None = None
) -> TensorMismatchError:
    """Expect wrong shapes of these tensors alone, or of so many."""
    return TensorMismatchError(ANY, (ShapeProblem(_Shapes(shapes, total or len(shapes)), hint),))


_UNTIED = TensorMismatchError(ANY, (TiedOutputProblem("lm_head.weight", "model.embed_tokens.weight"),))


def _in_layers(name: str) -> tuple[str, ...]:
    return tuple(f"model.layers.{layer}.{name}" for layer in range(2))


# Family, what is done to the tensors, what the config says otherwise, the error.
REFUSED: dict[str, tuple[str, Callable[[Tensors], Tensors] | None, dict[str, Any], ReleaseError]] = {
    "a tensor missing": (
        "Llama 2",
        without(f"{ATTENTION}q_proj.weight"),
        {},
        _missing((f"{ATTENTION}q_proj.weight",)),
    ),
    "no norm": ("Llama 2", without("model.norm.weight"), {}, _missing(("model.norm.weight",))),
    "no embedding": (
        "Qwen2.5 (QKV bias, tied)",
        without("model.embed_tokens.weight"),
        {},
        _missing(("model.embed_tokens.weight",)),
    ),
    "no output layer": (
        "Llama 2",
        without("lm_head.weight"),
        {},
        _missing(("lm_head.weight",), Containing("tie_word_embeddings")),
    ),
    "an expert missing": (
        "Qwen3-MoE (experts, qk-norm)",
        without("model.layers.1.mlp.experts.3.up_proj.weight"),
        {},
        _missing(("model.layers.1.mlp.experts.3.up_proj.weight",)),
    ),
    "a bias missing": (
        "Qwen2 (QKV bias)",
        without(f"{ATTENTION}k_proj.bias"),
        {},
        _missing((f"{ATTENTION}k_proj.bias",)),
    ),
    "more layers in the config": (
        "Llama 2",
        None,
        {"num_hidden_layers": 4},
        _missing(
            Containing("model.layers.2.mlp.down_proj.weight", "model.layers.3.mlp.down_proj.weight", size=18),
            Containing("4", "2"),
        ),
    ),
    "fewer layers in the config": (
        "Llama 2",
        None,
        {"num_hidden_layers": 1},
        _unexpected(Containing("model.layers.1.mlp.down_proj.weight", size=9), Containing("1")),
    ),
    "no prefix": (
        "Llama 2",
        _renamed("model.", ""),
        {},
        TensorMismatchError(
            ANY,
            (
                MissingTensorsProblem(
                    Containing("model.norm.weight", size=20),
                    Containing("embed_tokens.weight", "model.embed_tokens.weight"),
                ),
                UnexpectedTensorsProblem(Containing("norm.weight", size=20), ""),
            ),
        ),
    ),
    "another prefix": (
        "Llama 2",
        _renamed("", "x."),
        {},
        TensorMismatchError(
            ANY,
            (
                MissingTensorsProblem(
                    Containing("model.norm.weight", size=21), Containing("x.lm_head.weight", "lm_head.weight")
                ),
                UnexpectedTensorsProblem(Containing("x.model.norm.weight", size=21), ""),
            ),
        ),
    ),
    "q_norm in a Llama": (
        "Llama 2",
        with_more(self_attn__q_norm__weight=(16,)),
        {},
        _unexpected(_in_layers("self_attn.q_norm.weight")),
    ),
    "a bias that the config does not name": (
        "Llama 2",
        with_more(self_attn__q_proj__bias=(64,)),
        {},
        _unexpected(_in_layers("self_attn.q_proj.bias")),
    ),
    "an adapter": (
        "Llama 2",
        with_more(self_attn__q_proj__lora_A__weight=(4, 64)),
        {},
        _unexpected(_in_layers("self_attn.q_proj.lora_A.weight"), Containing("LoRA", "model.merge_and_unload")),
    ),
    "GPTQ": (
        "Llama 2",
        _gptq,
        {"quantization_config": {"quant_method": "gptq", "bits": 4}},
        TensorMismatchError(
            ANY,
            (
                NotQuantizedProblem("gptq"),
                MissingTensorsProblem(Containing(f"{ATTENTION}q_proj.weight", size=14), Containing("gptq")),
                UnexpectedTensorsProblem(Containing(f"{ATTENTION}q_proj.qweight", size=56), ""),
            ),
        ),
    ),
    "compressed-tensors": (
        "Qwen3 (qk-norm)",
        _projections(lambda tensor: tensor.to(_FP8), "_scale"),
        {"quantization_config": {"quant_method": "compressed-tensors"}},
        TensorMismatchError(
            ANY,
            (
                QuantizationProblem(Containing(f"{ATTENTION}q_proj.weight", size=14), "compressed-tensors"),
                UnexpectedTensorsProblem(
                    Containing(f"{ATTENTION}q_proj.weight_scale", size=14), Containing("compressed-tensors")
                ),
            ),
        ),
    ),
    "FP8 in blocks": (
        "Qwen3 (qk-norm)",
        _projections(lambda tensor: tensor.to(_FP8), "_scale_inv"),
        {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}},
        TensorMismatchError(
            ANY,
            (
                QuantizationProblem(Containing(f"{ATTENTION}q_proj.weight", size=14), "fp8"),
                UnexpectedTensorsProblem(
                    Containing(f"{ATTENTION}q_proj.weight_scale_inv", size=14), Containing("fp8")
                ),
            ),
        ),
    ),
    "FP8 without quantization_config": (
        "Llama 2",
        _projections(lambda tensor: tensor.to(_FP8)),
        {},
        TensorMismatchError(ANY, (QuantizationProblem(Containing(f"{ATTENTION}q_proj.weight", size=14), None),)),
    ),
    "int8 without quantization_config": (
        "Llama 2",
        _projections(lambda tensor: tensor.to(torch.int8)),
        {},
        TensorMismatchError(ANY, (QuantizationProblem(Containing(f"{ATTENTION}q_proj.weight", size=14), None),)),
    ),
    "another hidden size": (
        "Llama 2",
        None,
        {"hidden_size": 128, "head_dim": 16},
        _misshapen({"model.norm.weight": ([64], [128])}, total=21),
    ),
    "another MLP": (
        "Llama 2",
        None,
        {"intermediate_size": 100},
        _misshapen(
            {name: ([96, 64], [100, 64]) for kind in ("gate", "up") for name in _in_layers(f"mlp.{kind}_proj.weight")}
            | {name: ([64, 96], [64, 100]) for name in _in_layers("mlp.down_proj.weight")}
        ),
    ),
    "other groups": (
        "Llama 2",
        None,
        {"num_key_value_heads": 2},
        _misshapen(
            {name: ([64, 64], [32, 64]) for kind in "kv" for name in _in_layers(f"self_attn.{kind}_proj.weight")}
        ),
    ),
    "other experts": (
        "Qwen3-MoE (experts, qk-norm)",
        None,
        {"num_local_experts": 8, "num_experts": 8},
        _missing(
            tuple(
                f"model.layers.{layer}.mlp.experts.{expert}.{kind}.weight"
                for layer in range(2)
                for expert in range(4, 8)
                for kind in sorted(_PROJECTIONS)
            )
        ),
    ),
    "fused experts": (
        "Qwen3-MoE (experts, qk-norm)",
        _fused_experts,
        {},
        TensorMismatchError(
            ANY,
            (
                MissingTensorsProblem(
                    Containing("model.layers.0.mlp.experts.0.down_proj.weight", size=24),
                    Containing("model.layers.0.mlp.experts.down_proj", "save_pretrained"),
                ),
                UnexpectedTensorsProblem(
                    Containing(*_in_layers("mlp.experts.down_proj"), *_in_layers("mlp.experts.gate_up_proj"), size=4),
                    "",
                ),
            ),
        ),
    ),
    "placeholders of ZeRO-3": (
        "Llama 2",
        _placeholders,
        {},
        _misshapen({"model.norm.weight": ([0], [64])}, Containing("ZeRO-3", "zero_to_fp32.py"), total=21),
    ),
    "a resized embedding": (
        "Llama 2",
        _resized_embedding,
        {},
        _misshapen(
            {name: ([510, 64], [500, 64]) for name in ("model.embed_tokens.weight", "lm_head.weight")},
            Containing("vocab_size", "510", "500"),
        ),
    ),
    "a larger vocabulary": (
        "Llama 2",
        None,
        {"vocab_size": 512},
        _misshapen({name: ([500, 64], [512, 64]) for name in ("model.embed_tokens.weight", "lm_head.weight")}),
    ),
    "gate and up of sizes that add up": (
        "Llama 2",
        _shaped(mlp__gate_proj__weight=(90, 64), mlp__up_proj__weight=(102, 64)),
        {},
        _misshapen(
            {
                "model.layers.0.mlp.gate_proj.weight": ([90, 64], [96, 64]),
                "model.layers.0.mlp.up_proj.weight": ([102, 64], [96, 64]),
            }
        ),
    ),
    "a transposed projection": (
        "Llama 2",
        _shaped(mlp__down_proj__weight=(96, 64)),
        {},
        _misshapen({"model.layers.0.mlp.down_proj.weight": ([96, 64], [64, 96])}),
    ),
    "a norm that is one number": (
        "Llama 2",
        lambda tensors: tensors | {"model.norm.weight": torch.tensor(1.0)},
        {},
        _misshapen({"model.norm.weight": ([], [64])}),
    ),
    "a complex norm": (
        "Llama 2",
        lambda tensors: tensors | {"model.norm.weight": torch.ones(64, dtype=torch.complex64)},
        {},
        TensorMismatchError(ANY, (TensorDtypeProblem(("model.norm.weight",), ("C64",)),)),
    ),
    "a number that is a string": (
        "Llama 2",
        None,
        {"rms_norm_eps": "1e-6"},
        ConfigRejectedError(Containing("config.json"), Containing("rms_norm_eps")),
    ),
    "no layers": ("Llama 2", None, {"num_hidden_layers": 0}, ModelBuildError(ANY, ANY, ANY)),
    "two rope types": (
        "Llama 2",
        None,
        {"rope_parameters": {"type": "yarn", "rope_type": "default", "rope_theta": 10000.0, "factor": 4.0}},
        _unsupported("rope_parameters", "type='yarn'", "rope_type='default'"),
    ),
    "another model type": (
        "Llama 2",
        None,
        {"model_type": "mistral"},
        _unsupported("model_type", "mistral", "MistralForCausalLM", "LlamaForCausalLM"),
    ),
    "not causal": ("Llama 2", None, {"is_causal": False}, _unsupported("is_causal=False")),
    "perhaps causal": ("Llama 2", None, {"is_causal": None}, _unsupported("is_causal=None")),
    "layer types that make it another family's": (
        "Mistral (sliding window)",
        None,
        {"layer_types": ["full_attention", "sliding_attention"]},
        _unsupported("model_type", "ministral", "MinistralForCausalLM", "MistralForCausalLM"),
    ),
    "a truth for a number": (
        "Llama 3.1 (rope scaling)",
        None,
        {"rope_parameters": _LLAMA3 | {"factor": True}},
        _unsupported("rope_parameters.factor=True"),
    ),
    "no probability": (
        "Llama 2",
        None,
        {"attention_dropout": float("nan")},
        _unsupported("attention_dropout=nan"),
    ),
    "yarn of the base 1": (
        "Llama 2",
        None,
        {"rope_parameters": YARN | {"rope_theta": 1}},
        _unsupported("rope_parameters.rope_theta=1"),
    ),
    "yarn with a truth for a number": (
        "Llama 2",
        None,
        {"rope_parameters": YARN | {"beta_fast": True}},
        _unsupported("rope_parameters.beta_fast=True"),
    ),
    "a field that Bridge alone reads": (
        "Qwen3-MoE (experts, qk-norm)",
        None,
        {"routed_scaling_factor": 2.5},
        _unsupported("routed_scaling_factor=2.5", "Megatron-Bridge", "transformers"),
    ),
    "a negative base": (
        "Llama 2",
        None,
        {"rope_parameters": {"rope_type": "default", "rope_theta": -10000.0}},
        _unsupported("rope_parameters.rope_theta=-10000.0"),
    ),
    "more experts for a token than there are": (
        "Qwen3-MoE (experts, qk-norm)",
        None,
        {"num_experts_per_tok": 5},
        _unsupported("num_experts_per_tok=5"),
    ),
    "a tied model without its embedding": (
        "Llama 2",
        without("model.embed_tokens.weight"),
        {"tie_word_embeddings": True},
        TensorMismatchError(
            ANY,
            (
                MissingTensorsProblem(("model.embed_tokens.weight",), ANY),
                UnexpectedTensorsProblem(("lm_head.weight",), ANY),
            ),
        ),
    ),
    "a tied head that differs": ("Llama 2", None, {"tie_word_embeddings": True}, _UNTIED),
    "float64 in the config": ("Llama 2", None, {"dtype": "float64"}, UnsupportedDtypeError("float64", ANY, ANY)),
    "a tied head in float32 that differs": (
        "Qwen2.5 (QKV bias, tied)",
        lambda tensors: tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"].float() * (1 + 2**-20)},
        {},
        _UNTIED,
    ),
    "a tied pair that is one number each": (
        "Qwen2.5 (QKV bias, tied)",
        lambda tensors: (
            tensors | {name: torch.tensor(1.0) for name in ("lm_head.weight", "model.embed_tokens.weight")}
        ),
        {},
        _misshapen({"model.embed_tokens.weight": ([], [500, 64])}),
    ),
    "a name of two lines": ("Llama 2", lambda tensors: tensors | {"a\nb": torch.ones(1)}, {}, _unexpected(("a\nb",))),
    "no name": ("Llama 2", lambda tensors: tensors | {"": torch.ones(1)}, {}, _unexpected(("",))),
    "silu by another name": (
        "Llama 2",
        None,
        {"hidden_act": "swish"},
        UnsupportedConfigError(ANY, (Containing("hidden_act='swish'", "silu"),), ANY),
    ),
    "yarn without a factor": (
        "Llama 2",
        None,
        {"rope_parameters": YARN | {"factor": None}},
        _unsupported("rope_parameters.factor=None", "32.0"),
    ),
    "another attention factor": (
        "Llama 2",
        None,
        {"rope_parameters": YARN | {"attention_factor": 1.1386}},
        _unsupported("rope_parameters.attention_factor=1.1386"),
    ),
    "a text_config that is none": ("Llama 2", None, {"text_config": {}}, NestedConfigError(ANY, "llama")),
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
        HeadSizeError(ANY, 15),
    ),
    "padding beyond the vocabulary": ("Llama 2", None, {"pad_token_id": 500}, PadTokenError(ANY, 500, 500)),
    "a quantization of plain weights": (
        "Llama 2",
        None,
        {"quantization_config": {"quant_method": "gptq", "bits": 4}},
        TensorMismatchError(ANY, (NotQuantizedProblem("gptq"),)),
    ),
    "a quantization without a method": (
        "Llama 2",
        None,
        {"quantization_config": {"bits": 4}},
        TensorMismatchError(ANY, (NotQuantizedProblem("an unnamed method"),)),
    ),
    "a type that no release has": ("Llama 2", None, {"dtype": "int4"}, UnsupportedDtypeError("int4", ANY, ANY)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_import_refuses_model_that_does_not_match_config(families, tmp_path, name):
    family, tensors, config, expected = REFUSED[name]
    assert_refused(make_odd(families(family), tmp_path, tensors, config), tmp_path / "root", expected)
