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


"""Each field and value of the config table is computed on both sides: what it carries agrees, what it refuses does not."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from architectures import ARCHITECTURES
from hf_logits import LOGITS_BOUND
from models import FAMILIES as MODELS
from models import save_random_model
from roots import stored_args
from transformers import AutoConfig, PretrainedConfig

from megatron.bridge import AutoBridge
from megatron.bridge.release.source.safetensors_index import read_index
from megatron.bridge.release.validation.config_rules import FAMILIES
from megatron.bridge.release.validation.model_errors import UnsupportedConfigError
from megatron.bridge.release.verify.comparison_findings import LINEAR_ATTENTION_TOLERANCE
from megatron.bridge.release.verify.logits import compare_logits


# Their rotary embeddings have lengths of their own.
_OWN_LENGTH = {"deepseek_v2", "deepseek_v3", "gpt_oss"}

# Past the longest position, the window and the original length of every model here.
POSITIONS = 160


def _real(name: str, **changes: Any) -> PretrainedConfig:
    """Return the config of a real model, without the layers that transformers does not have."""
    without = dict.fromkeys(("num_nextn_predict_layers", "mtp_num_hidden_layers"), 0)
    values = ARCHITECTURES[name]
    values = values | {field: 0 for field in without if field in values} | changes
    return type(AutoConfig.for_model(values["model_type"])).from_dict(values)


BASES: dict[str, PretrainedConfig] = {
    "llama": MODELS["Llama 2"].config,
    "mistral": MODELS["Mistral"].config,
    "qwen2": MODELS["Qwen2 (QKV bias)"].config,
    "qwen3": MODELS["Qwen3 (qk-norm)"].config,
    "qwen3_moe": MODELS["Qwen3-MoE (experts, qk-norm)"].config,
    "mixtral": MODELS["Mixtral (experts, sliding window)"].config,
    "deepseek_v2": _real("DeepSeek-V2", topk_method="greedy", n_group=1, topk_group=1, rope_scaling=None),
    "deepseek_v3": _real("DeepSeek-V3"),
    "glm4_moe": _real("GLM-4.5"),
    "glm4_moe_lite": _real("GLM-4.7-Flash"),
    "gpt_oss": _real("GPT-OSS"),
    "qwen3_next": _real("Qwen3-Next"),
    "qwen3_5_text": _real("Qwen3.5-27B-text"),
    "qwen3_5_moe_text": _real("Qwen3.5-35B-A3B-text"),
    "hy_v3": _real("Hy3"),
    "exaone_moe": _real("K-EXAONE"),
    "nemotron": _real("Minitron"),
    "seed_oss": _real("Seed-OSS-36B", attention_dropout=0.0),
    "phi3": _real("Phi-4"),
    "ernie4_5": _real("ERNIE-4.5-0.3B"),
}

# `make test` tries the values of these alone; `make test-all` those of every family.
IN_EVERY_TEST = {"llama", "mistral", "qwen2", "qwen3", "qwen3_moe", "mixtral", "deepseek_v3", "gpt_oss"}


def _rope(**values: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0} | values}


def _yarn(**values: Any) -> dict[str, Any]:
    return _rope(**{"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32} | values)


def _llama3(**values: Any) -> dict[str, Any]:
    own = dict(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192)
    return {"max_position_embeddings": 131072} | _rope(
        **{"rope_type": "llama3", "rope_theta": 500000.0} | own | values
    )


_SIZES: list[dict[str, Any]] = [
    {"vocab_size": 517},
    {"hidden_size": 128},
    {"intermediate_size": 80},
    {"num_hidden_layers": 3},
    {"num_attention_heads": 8, "num_key_value_heads": 4},
    {"num_key_value_heads": 1},
    {"head_dim": 8},
    {"max_position_embeddings": 4096},
    {"rms_norm_eps": 1e-3},
    _rope(rope_theta=1000000.0),
]
_DROPOUT = {"attention_dropout": 0.1}
_BIASES: list[tuple[str, dict[str, Any]]] = [("attention_bias", {"attention_bias": True})]
_COMMON: list[tuple[str, dict[str, Any]]] = [
    *(("hidden_act", {"hidden_act": name}) for name in ("gelu", "gelu_pytorch_tanh", "relu", "sigmoid", "tanh")),
    ("rope_parameters.rope_theta", _rope(rope_theta=12345.5)),
    ("rope_parameters.rope_type", _rope(rope_type="dynamic", factor=4.0)),
    (
        "rope_parameters.rope_type",
        _rope(
            rope_type="longrope",
            factor=4.0,
            original_max_position_embeddings=32,
            short_factor=[1.0] * 8,
            long_factor=[3.0] * 8,
        )
        | {"head_dim": 16},
    ),
]
_NO_OTHER_ROPE: list[tuple[str, dict[str, Any]]] = [
    ("rope_parameters.rope_type", _rope(rope_type="linear", factor=2.0)),
    ("rope_parameters.rope_type", _llama3()),
]
_YARNS = [
    _yarn(),
    _yarn(factor=2.5),
    _yarn(original_max_position_embeddings=16),
    _yarn(beta_fast=16.0),
    _yarn(beta_slow=2.0),
    _yarn(truncate=False),
    _yarn(mscale=0.8, mscale_all_dim=0.5),
    _yarn(attention_factor=0.1 * math.log(4.0) + 1),
]
_NO_YARNS: list[tuple[str, dict[str, Any]]] = [
    ("rope_parameters.attention_factor", _yarn(attention_factor=1.7)),
    ("rope_parameters.mscale", _yarn(mscale=0.5)),
    ("rope_parameters.mscale_all_dim", _yarn(mscale_all_dim=0.5)),
]
_WINDOWS = {"use_sliding_window": True, "sliding_window": 16}
_UNUSED_WINDOWS: list[dict[str, Any]] = [
    {"use_sliding_window": False, "sliding_window": 16},
    {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 2},
]


def _change(family: str, **changes: Any) -> dict[str, Any]:
    """Return the rotary parameters of a base with changes."""
    return {"rope_parameters": BASES[family].rope_parameters | changes}


# What the families of experts and of real configs have in common.
_USUAL: list[dict[str, Any]] = [
    {"vocab_size": 517},
    {"hidden_size": 128},
    {"intermediate_size": 80},
    {"num_attention_heads": 8, "num_key_value_heads": 4},
    {"rms_norm_eps": 1e-3},
    {"max_position_embeddings": 4096},
    _DROPOUT,
]
_ROUTED: list[dict[str, Any]] = [
    {"n_routed_experts": 16},
    {"num_experts_per_tok": 4},
    {"moe_intermediate_size": 48},
    {"routed_scaling_factor": 1.5},
]
_LATENT: list[dict[str, Any]] = [
    *(each for each in _USUAL if not {"num_attention_heads", "rms_norm_eps"} & each.keys()),
    {"num_attention_heads": 8, "num_key_value_heads": 8},
    {"rms_norm_eps": 1e-7},
    *_ROUTED,
    {"q_lora_rank": 16},
    {"kv_lora_rank": 32},
    {"qk_nope_head_dim": 8},
    {"qk_rope_head_dim": 16},
    {"v_head_dim": 32},
    {"n_shared_experts": 2},
]
_LINEAR: list[dict[str, Any]] = [
    {"linear_conv_kernel_dim": 3},
    {"linear_key_head_dim": 8},
    {"linear_value_head_dim": 32},
    {"linear_num_key_heads": 1},
    {"linear_num_value_heads": 8},
    {"layer_types": ["linear_attention", "full_attention"] * 2, "full_attention_interval": 2},
    {"layer_types": ["full_attention", "linear_attention", "linear_attention", "full_attention"]},
    {"head_dim": 64},
]
_NO_GELU: tuple[str, dict[str, Any]] = ("hidden_act", {"hidden_act": "gelu"})
_NO_BASE = "rope_parameters.rope_theta"
_TOP_1: tuple[str, dict[str, Any]] = ("num_experts_per_tok", {"num_experts_per_tok": 1})
_NOT_NORMALIZED: tuple[str, dict[str, Any]] = ("norm_topk_prob", {"norm_topk_prob": False})

CARRIED: dict[str, list[dict[str, Any]]] = {
    "llama": [
        *_SIZES,
        _DROPOUT,
        {"tie_word_embeddings": True},
        _rope(rope_type="linear", factor=2.0),
        _llama3(),
        _llama3(factor=32.0),
        *_YARNS,
    ],
    "mistral": [
        *_SIZES,
        {"tie_word_embeddings": True},
        {"sliding_window": 1},
        {"sliding_window": 16},
        {"sliding_window": 100000},
    ],
    "qwen2": [*_SIZES, _DROPOUT, {"tie_word_embeddings": True}, *_UNUSED_WINDOWS, *_YARNS],
    "qwen3": [*_SIZES, _DROPOUT, {"tie_word_embeddings": False}, *_UNUSED_WINDOWS, *_YARNS],
    "qwen3_moe": [
        *_SIZES,
        _DROPOUT,
        {"tie_word_embeddings": True},
        {"use_sliding_window": False, "sliding_window": 16},
        {"num_local_experts": 8, "num_experts": 8},
        {"num_experts_per_tok": 3},
        {"num_experts_per_tok": 1, "norm_topk_prob": False},
        {"norm_topk_prob": True},
        {"norm_topk_prob": False},
        {"moe_intermediate_size": 48},
        *_YARNS,
    ],
    "mixtral": [
        *_SIZES,
        _DROPOUT,
        {"tie_word_embeddings": True},
        {"sliding_window": 16},
        {"sliding_window": None},
        {"num_local_experts": 8},
        {"num_experts_per_tok": 3},
        *_YARNS,
    ],
    "deepseek_v2": [
        *_LATENT,
        {"first_k_dense_replace": 2},
    ],
    "deepseek_v3": [
        *_LATENT,
        {"first_k_dense_replace": 2, "num_hidden_layers": 4},
        {"n_group": 2, "topk_group": 2, "num_experts_per_tok": 5},
        {"n_group": 1, "topk_group": 1, "num_experts_per_tok": 3},
        _change("deepseek_v3", factor=8.0),
        _change("deepseek_v3", mscale=0.5, mscale_all_dim=0.5),
        _yarn(original_max_position_embeddings=4096),
        _rope(),
    ],
    "glm4_moe": [
        *_USUAL,
        *_ROUTED,
        {"head_dim": 16},
        {"first_k_dense_replace": 2},
        {"attention_bias": False},
        {"use_qk_norm": False},
        {"n_group": 4, "topk_group": 2, "num_experts_per_tok": 4},
        _change("glm4_moe", partial_rotary_factor=0.25) | {"partial_rotary_factor": 0.25},
        _change("glm4_moe", partial_rotary_factor=0.25),
        _change("glm4_moe", rope_theta=10000),
    ],
    "glm4_moe_lite": [
        *_LATENT,
        {"n_group": 4, "topk_group": 2, "num_experts_per_tok": 4},
        _change("glm4_moe_lite", rope_theta=10000),
        {"first_k_dense_replace": 2, "mlp_layer_types": ["dense", "dense", "sparse"]},
    ],
    "gpt_oss": [
        *(each for each in _USUAL if "max_position_embeddings" not in each),
        {"head_dim": 16},
        {"num_local_experts": 4},
        {"num_experts_per_tok": 2},
        {"sliding_window": 16},
        {"num_hidden_layers": 3},
        _change("gpt_oss", rope_theta=10000),
    ],
    "qwen3_next": [
        *_USUAL,
        *_LINEAR,
        {"tie_word_embeddings": True},
        {"num_experts": 16},
        {"num_experts_per_tok": 4},
        {"moe_intermediate_size": 48},
        {"shared_expert_intermediate_size": 48},
        _change("qwen3_next", partial_rotary_factor=0.5) | {"partial_rotary_factor": 0.5},
        _change("qwen3_next", rope_theta=10000),
    ],
    "qwen3_5_text": [
        *_USUAL,
        *_LINEAR,
        {"tie_word_embeddings": True},
        _change("qwen3_5_text", rope_theta=10000),
        _change("qwen3_5_text", partial_rotary_factor=0.5) | {"partial_rotary_factor": 0.5},
    ],
    "qwen3_5_moe_text": [
        *(each for each in _USUAL if "intermediate_size" not in each),
        *_LINEAR,
        {"num_experts": 16},
        {"num_experts_per_tok": 4},
        {"moe_intermediate_size": 48},
        {"shared_expert_intermediate_size": 48},
    ],
    "hy_v3": [
        *_USUAL,
        {"head_dim": 16},
        {"num_experts": 16},
        {"num_experts_per_tok": 4},
        {"num_shared_experts": 2},
        {"moe_intermediate_size": 48},
        {"router_scaling_factor": 1.5},
        {"tie_word_embeddings": True},
        {"first_k_dense_replace": 2, "mlp_layer_types": ["dense", "dense", "sparse"]},
        _rope(),
    ],
    "exaone_moe": [
        *_USUAL,
        {"head_dim": 16},
        {"num_experts": 16},
        {"num_experts_per_tok": 4},
        {"num_shared_experts": 2},
        {"moe_intermediate_size": 48},
        {"routed_scaling_factor": 1.5},
        {"sliding_window": 16},
        {"layer_types": ["full_attention", "sliding_attention"] * 2},
        {"mlp_layer_types": ["dense", "sparse", "dense", "sparse"]},
        {"n_group": 4, "topk_group": 2, "num_experts_per_tok": 4},
        {"tie_word_embeddings": True},
        _rope(),
    ],
    "nemotron": [
        *(each for each in _USUAL if "rms_norm_eps" not in each and each != _DROPOUT),
        {"head_dim": 16},
        {"norm_eps": 1e-3},
        {"tie_word_embeddings": True},
        _change("nemotron", partial_rotary_factor=0.25) | {"partial_rotary_factor": 0.25},
    ],
    "seed_oss": [
        *_USUAL,
        {"head_dim": 16},
        {"attention_bias": False},
        {"residual_dropout": 0.2},
        {"tie_word_embeddings": True},
        *_YARNS,
    ],
    "phi3": [
        *_USUAL,
        {"sliding_window": 16},
        {"tie_word_embeddings": True},
        {"resid_pdrop": 0.1},
        {"embd_pdrop": 0.1},
        _change("phi3", partial_rotary_factor=0.5),
        {"original_max_position_embeddings": 4096},
    ],
    "ernie4_5": [
        *(each for each in _USUAL if each != _DROPOUT),
        {"head_dim": 16},
        {"use_bias": True},
        {"tie_word_embeddings": False},
        _rope(rope_theta=10000),
    ],
}

REFUSED: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "llama": [
        *_COMMON,
        *_BIASES,
        ("mlp_bias", {"mlp_bias": True}),
        ("rope_parameters.factor", _rope(rope_type="linear", factor=1.5)),
        ("rope_parameters.low_freq_factor", _llama3(low_freq_factor=2.0)),
        ("rope_parameters.high_freq_factor", _llama3(high_freq_factor=8.0)),
        ("rope_parameters.original_max_position_embeddings", _llama3(original_max_position_embeddings=4096)),
        *_NO_YARNS,
    ],
    "mistral": [*_COMMON, ("attention_dropout", _DROPOUT), *_NO_OTHER_ROPE, ("rope_parameters.rope_type", _yarn())],
    "qwen2": [
        *_COMMON,
        *_NO_OTHER_ROPE,
        *_NO_YARNS,
        ("layer_types", _WINDOWS | {"max_window_layers": 1}),
        ("layer_types", _WINDOWS | {"max_window_layers": 0}),
    ],
    "qwen3": [
        *_COMMON,
        *_BIASES,
        *_NO_OTHER_ROPE,
        *_NO_YARNS,
        ("layer_types", _WINDOWS | {"max_window_layers": 1}),
    ],
    "qwen3_moe": [
        *_COMMON,
        *_BIASES,
        *_NO_OTHER_ROPE,
        *_NO_YARNS,
        ("sliding_window", _WINDOWS),
        ("num_experts_per_tok", {"num_experts_per_tok": 1, "norm_topk_prob": True}),
        ("decoder_sparse_step", {"decoder_sparse_step": 2}),
        ("mlp_only_layers", {"mlp_only_layers": [0]}),
    ],
    "mixtral": [
        *_COMMON,
        *_NO_OTHER_ROPE,
        *_NO_YARNS,
        ("num_experts_per_tok", {"num_experts_per_tok": 1}),
        ("router_jitter_noise", {"router_jitter_noise": 0.1}),
    ],
    "deepseek_v2": [
        _NO_GELU,
        ("n_group", {"n_group": 2}),
        ("tie_word_embeddings", {"tie_word_embeddings": True}),
        ("rope_parameters.rope_type", _yarn(mscale=1.0, mscale_all_dim=1.0)),
        ("q_lora_rank", {"q_lora_rank": None}),
        ("rms_norm_eps", {"rms_norm_eps": 1e-3}),
    ],
    "deepseek_v3": [
        _NO_GELU,
        _TOP_1,
        _NOT_NORMALIZED,
        ("topk_group", {"num_experts_per_tok": 3}),
        ("rope_interleave", {"rope_interleave": False}),
        ("rope_parameters.beta_fast", _change("deepseek_v3", beta_fast=1)),
        ("rope_parameters.beta_slow", _change("deepseek_v3", beta_slow=30)),
        ("rope_parameters.truncate", _change("deepseek_v3", truncate=False)),
        ("rope_parameters.rope_type", _change("deepseek_v3", mscale=0.0)),
        ("rope_parameters.rope_type", _yarn(original_max_position_embeddings=4096, mscale_all_dim=1.0)),
        ("rms_norm_eps", {"rms_norm_eps": 1e-3}),
        ("tie_word_embeddings", {"tie_word_embeddings": True}),
        (
            "rope_parameters.original_max_position_embeddings",
            _change("deepseek_v3", original_max_position_embeddings=32),
        ),
        (_NO_BASE, _change("deepseek_v3", rope_theta=12345.5)),
        ("q_lora_rank", {"q_lora_rank": None}),
    ],
    "glm4_moe": [
        _NO_GELU,
        _TOP_1,
        _NOT_NORMALIZED,
        ("n_shared_experts", {"n_shared_experts": 2}),
        ("routed_scaling_factor", {"routed_scaling_factor": 0.0}),
        ("tie_word_embeddings", {"tie_word_embeddings": True}),
        ("topk_group", {"n_group": 4, "topk_group": 2}),
        (_NO_BASE, _change("glm4_moe", rope_theta=12345.5)),
    ],
    "glm4_moe_lite": [
        _NO_GELU,
        _TOP_1,
        _NOT_NORMALIZED,
        ("tie_word_embeddings", {"tie_word_embeddings": True}),
        ("topk_group", {"n_group": 4, "topk_group": 2}),
        ("mlp_layer_types", {"mlp_layer_types": ["dense", "sparse", "dense"]}),
        ("rope_interleave", {"rope_interleave": False}),
    ],
    "gpt_oss": [
        _TOP_1,
        ("tie_word_embeddings", {"tie_word_embeddings": True}),
        ("attention_bias", {"attention_bias": False}),
        ("layer_types", {"layer_types": ["full_attention", "sliding_attention"]}),
        ("rope_parameters.factor", _change("gpt_oss", factor=8.0)),
        ("rope_parameters.beta_fast", _change("gpt_oss", beta_fast=16.0)),
        ("rope_parameters.beta_slow", _change("gpt_oss", beta_slow=4.0)),
        ("rope_parameters.truncate", _change("gpt_oss", truncate=True)),
        ("rope_parameters.attention_factor", _change("gpt_oss", attention_factor=1.0)),
        ("rope_parameters.mscale", _change("gpt_oss", mscale=0.5, mscale_all_dim=0.5)),
        ("rope_parameters.mscale_all_dim", _change("gpt_oss", mscale=0.5, mscale_all_dim=0.5)),
        ("rope_parameters.original_max_position_embeddings", _change("gpt_oss", original_max_position_embeddings=32)),
        ("rope_parameters.rope_type", _rope()),
    ],
    "qwen3_next": [
        _NO_GELU,
        _TOP_1,
        _NOT_NORMALIZED,
        ("decoder_sparse_step", {"decoder_sparse_step": 2}),
        ("mlp_only_layers", {"mlp_only_layers": [0]}),
    ],
    "qwen3_5_text": [
        _NO_GELU,
    ],
    "qwen3_5_moe_text": [_NO_GELU, _TOP_1],
    "hy_v3": [
        _NO_GELU,
        _TOP_1,
        ("mlp_layer_types", {"mlp_layer_types": ["dense", "sparse", "dense"]}),
    ],
    "exaone_moe": [_NO_GELU, _TOP_1, _NOT_NORMALIZED, ("topk_group", {"n_group": 4, "topk_group": 2})],
    "nemotron": [
        ("rms_norm_eps", {"rms_norm_eps": 0.1}),
        ("hidden_act", {"hidden_act": "silu"}),
        ("attention_dropout", _DROPOUT),
    ],
    "seed_oss": [
        _NO_GELU,
        ("attention_out_bias", {"attention_out_bias": True}),
        ("mlp_bias", {"mlp_bias": True}),
        *_NO_OTHER_ROPE,
    ],
    "phi3": [
        _NO_GELU,
        (
            "rope_parameters.rope_type",
            _rope(rope_type="longrope", factor=4.0, short_factor=[1.0] * 8, long_factor=[3.0] * 8)
            | {"original_max_position_embeddings": 32},
        ),
    ],
    "ernie4_5": [_NO_GELU, *_NO_OTHER_ROPE],
}


# Where what is refused ends when it is let through.
ANOTHER_FUNCTION = "it computes another function"
NOT_IMPORTED = "a parameter has no source, or Bridge itself does not take the value"
NOT_LOADED = "Megatron-LM refuses the flags, or the tensors that they ask for"
# Logits are compared without the noise of a training.
OTHER_ARGS = "its args have other noise"
# How each of their values ends is not named.
_REAL = BASES.keys() - {"llama", "mistral", "qwen2", "qwen3", "qwen3_moe", "mixtral"}
# Fields of that noise, with their arguments.
NOISE = {"attention_dropout": "attention_dropout", "router_jitter_noise": "moe_input_jitter_eps"}


class Case(NamedTuple):
    """A family, a field that is refused (empty where all are carried), and what the config says."""

    family: str
    field: str
    values: dict[str, Any]

    def __str__(self) -> str:
        """Name the test."""
        return f"{self.family}-{self.values}"


def _cases(tried: dict[str, list]) -> list[Any]:
    """Every case; `make test` takes what several families have in common for the first of them alone."""
    seen: list[Any] = []
    params = []
    for family, cases in tried.items():
        for case in cases:
            is_exhaustive = case in seen or family not in IN_EVERY_TEST
            params.append(
                pytest.param(
                    Case(family, *case) if isinstance(case, tuple) else Case(family, "", case),
                    marks=[pytest.mark.exhaustive] if is_exhaustive else [],
                )
            )
            seen.append(case)
    return params


def _model(folder: Path, case: Case) -> Path:
    base = BASES[case.family]
    length = {} if case.family in _OWN_LENGTH else {"max_position_embeddings": 64}
    values = base.to_dict() | length | case.values
    for name in (
        "layer_types",
        "mlp_layer_types",
        "qk_head_dim",
        *(["head_dim"] if "qk_rope_head_dim" in values else []),
    ):
        # The class makes them of the other fields.
        if name in values and name not in case.values and case.family != "exaone_moe":
            values.pop(name)
    return save_random_model(folder / "hf", type(base)(**values))


@pytest.mark.parametrize("case", _cases(CARRIED), ids=str)
def test_supported_config_values_match_logits(tmp_path, case):
    hf = _model(tmp_path, case)
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    comparison = compare_logits(tmp_path / "root", hf, positions=POSITIONS)
    assert comparison.skipped is None and comparison.matches, str(comparison)
    bound = LINEAR_ATTENTION_TOLERANCE if "linear_conv_kernel_dim" in BASES[case.family].to_dict() else LOGITS_BOUND
    assert comparison.difference <= bound
    # Nothing is dropped where logits are compared.
    assert _dropout(tmp_path / "root") == case.values.get("attention_dropout", 0.0)


def _let_through(hf: Path, root: Path, case: Case) -> str:
    """Import what is refused all the same, as far as that goes; tell where it ends."""
    allowed = sorted({name for name, _ in REFUSED[case.family]})
    there = [name for name in allowed if _has(hf, name)]
    try:
        biases = ["*.bias"] if any(name.endswith(".bias") for name in read_index(hf)) else []
        AutoBridge.import_ckpt(hf, root, release=True, allow_config_fields=there, allow_unused_tensors=biases)
    except (ValueError, TypeError) as refused:
        assert not root.exists(), refused
        return NOT_IMPORTED
    if case.field in NOISE:
        assert getattr(stored_args(root), NOISE[case.field]) != case.values[case.field]
        return OTHER_ARGS
    try:
        comparison = compare_logits(root, hf, positions=POSITIONS)
    except ValueError:
        return NOT_LOADED
    assert comparison.skipped is None and not comparison.matches, str(comparison)
    return ANOTHER_FUNCTION


def _expected_end(case: Case) -> str:
    """Tell where a case ends; each that does not compute another function is named here."""
    if case.field in NOISE:
        return OTHER_ARGS
    if case.field == "rope_parameters.rope_theta" or case.field == "hidden_act" and case.family != "mistral":
        return NOT_LOADED
    not_imported = {
        "llama": ("attention_bias", "mlp_bias"),
        "mistral": ("rope_parameters.rope_type",) if case.values == _yarn() else (),
        "qwen3_moe": ("num_experts_per_tok", "decoder_sparse_step", "mlp_only_layers"),
        "mixtral": ("num_experts_per_tok",),
    }
    return NOT_IMPORTED if case.field in not_imported.get(case.family, ()) else ANOTHER_FUNCTION


@pytest.mark.parametrize("case", _cases(REFUSED), ids=str)
def test_refused_config_values_fail_or_differ_when_waived(tmp_path, case):
    hf, root = _model(tmp_path, case), tmp_path / "root"
    with pytest.raises(UnsupportedConfigError) as error:
        AutoBridge.import_ckpt(hf, root, release=True)
    assert any(problem.startswith(f"{case.field}=") for problem in error.value.problems)
    assert "\n" not in str(error.value) and not root.exists()
    end = _let_through(hf, root, case)
    assert end == _expected_end(case) or case.family in _REAL


def _dropout(root: Path) -> float:
    return stored_args(root).attention_dropout


def _has(hf: Path, name: str) -> bool:
    from transformers import AutoConfig

    values = AutoConfig.from_pretrained(hf).to_dict()
    parent, _, part = name.rpartition(".")
    return part in (values[parent] if parent else values)


# Fields of the real configs that are computed at the real model's value alone: most of them are not read by transformers, or
# have one value that is supported.
UNTRIED = {
    "deepseek_v2": [
        "num_hidden_layers",
        "head_dim",
        "rope_parameters.rope_theta",
        "rope_parameters.partial_rotary_factor",
        "attention_bias",
        "mlp_bias",
        "topk_method",
        "scoring_func",
        "norm_topk_prob",
        "topk_group",
        "moe_layer_freq",
        "aux_loss_alpha",
        "ep_size",
        "pretraining_tp",
        "seq_aux",
    ],
    "deepseek_v3": [
        "head_dim",
        "rope_parameters.partial_rotary_factor",
        "attention_bias",
        "topk_method",
        "scoring_func",
        "qk_head_dim",
        "moe_layer_freq",
        "num_nextn_predict_layers",
        "ep_size",
        "pretraining_tp",
        "rope_parameters.attention_factor",
    ],
    "glm4_moe": ["num_hidden_layers", "num_nextn_predict_layers"],
    "glm4_moe_lite": [
        "num_hidden_layers",
        "attention_bias",
        "topk_method",
        "partial_rotary_factor",
        "qk_head_dim",
        "num_nextn_predict_layers",
        "pretraining_tp",
    ],
    "gpt_oss": [
        "max_position_embeddings",
        "rope_parameters.partial_rotary_factor",
        "hidden_act",
        "experts_per_token",
        "initial_context_length",
        "swiglu_limit",
    ],
    "qwen3_next": ["num_hidden_layers", "attention_bias", "use_sliding_window"],
    "qwen3_5_text": [
        "num_hidden_layers",
        "attention_bias",
        "attn_output_gate",
        "mamba_ssm_dtype",
        "mlp_only_layers",
        "mtp_num_hidden_layers",
        "mtp_use_dedicated_embeddings",
    ],
    "qwen3_5_moe_text": [
        "num_hidden_layers",
        "tie_word_embeddings",
        "rope_parameters.rope_theta",
        "rope_parameters.partial_rotary_factor",
        "partial_rotary_factor",
        "attention_bias",
        "rope_parameters.mrope_interleaved",
        "rope_parameters.mrope_section",
        "attn_output_gate",
        "mamba_ssm_dtype",
        "mlp_only_layers",
        "mtp_num_hidden_layers",
        "mtp_use_dedicated_embeddings",
        "rope_parameters.rope_type",
    ],
    "hy_v3": [
        "num_hidden_layers",
        "rope_parameters.partial_rotary_factor",
        "attention_bias",
        "mlp_bias",
        "num_nextn_predict_layers",
        "enable_attention_fp32_softmax",
        "enable_lm_head_fp32",
        "enable_moe_fp32_combine",
        "expert_hidden_dim",
        "moe_router_enable_expert_bias",
        "moe_router_use_sigmoid",
        "qk_norm",
        "route_norm",
    ],
    "exaone_moe": [
        "num_hidden_layers",
        "rope_parameters.partial_rotary_factor",
        "sliding_window_pattern",
        "first_k_dense_replace",
        "num_nextn_predict_layers",
        "topk_method",
        "scoring_func",
    ],
    "nemotron": ["num_hidden_layers", "attention_bias", "mlp_bias"],
    "seed_oss": ["num_hidden_layers", "rope_parameters.partial_rotary_factor"],
    "phi3": ["num_hidden_layers", "attention_bias"],
    "ernie4_5": ["num_hidden_layers", "rope_parameters.partial_rotary_factor"],
}


def test_cases_cover_config_table():
    assert FAMILIES.keys() == BASES.keys()
    for family, base in BASES.items():
        tried = {name for name, _ in REFUSED[family]} | {
            f"rope_parameters.{part}" for values in CARRIED[family] for part in values.get("rope_parameters", {})
        }
        tried |= {name for values in CARRIED[family] for name in values}
        # What the class has no room for cannot be at another value.
        possible = base.to_dict().keys()
        untried = [
            field.name
            for field in FAMILIES[family]
            if field.name not in tried and (field.name in possible or field.name.startswith("rope_parameters."))
        ]
        assert untried == UNTRIED.get(family, ["rope_parameters.partial_rotary_factor"]), family
