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
from hf_logits import LOGITS_BOUND
from models import FAMILIES as MODELS
from models import save_random_model
from roots import stored_args

from megatron.bridge import AutoBridge
from megatron.bridge.release.source.safetensors_index import read_index
from megatron.bridge.release.validation.config_rules import FAMILIES
from megatron.bridge.release.validation.model_errors import UnsupportedConfigError
from megatron.bridge.release.verify.logits import compare_logits


# Past the longest position, the window and the original length of every model here.
POSITIONS = 160

BASES = {
    "llama": MODELS["Llama 2"],
    "mistral": MODELS["Mistral"],
    "qwen2": MODELS["Qwen2 (QKV bias)"],
    "qwen3": MODELS["Qwen3 (qk-norm)"],
    "qwen3_moe": MODELS["Qwen3-MoE (experts, qk-norm)"],
    "mixtral": MODELS["Mixtral (experts, sliding window)"],
}

# Transformer Engine alone builds these: their rows of the table are read, not computed.
NOT_COMPUTED_HERE = {"gemma", "deepseek_v2", "deepseek_v3"}


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
}


# Where what is refused ends when it is let through.
ANOTHER_FUNCTION = "it computes another function"
NOT_IMPORTED = "a parameter has no source, or Bridge itself does not take the value"
NOT_LOADED = "Megatron-LM refuses the flags, or the tensors that they ask for"
# Logits are compared without the noise of a training.
OTHER_ARGS = "its args have other noise"
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
            params.append(
                pytest.param(
                    Case(family, *case) if isinstance(case, tuple) else Case(family, "", case),
                    marks=[pytest.mark.exhaustive] if case in seen else [],
                )
            )
            seen.append(case)
    return params


def _model(folder: Path, case: Case) -> Path:
    base = BASES[case.family].config
    values = base.to_dict() | {"max_position_embeddings": 64} | case.values
    if "layer_types" in values:
        # The class makes them of the other fields.
        values.pop("layer_types")
    return save_random_model(folder / "hf", type(base)(**values))


@pytest.mark.parametrize("case", _cases(CARRIED), ids=str)
def test_supported_config_values_match_logits(tmp_path, case):
    hf = _model(tmp_path, case)
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    comparison = compare_logits(tmp_path / "root", hf, positions=POSITIONS)
    assert comparison.skipped is None and comparison.difference <= LOGITS_BOUND, str(comparison)
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
    assert comparison.skipped is None and not comparison.difference <= LOGITS_BOUND, str(comparison)
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
    assert _let_through(hf, root, case) == _expected_end(case)


def _dropout(root: Path) -> float:
    return stored_args(root).attention_dropout


def _has(hf: Path, name: str) -> bool:
    from transformers import AutoConfig

    values = AutoConfig.from_pretrained(hf).to_dict()
    parent, _, part = name.rpartition(".")
    return part in (values[parent] if parent else values)


def test_cases_cover_config_table():
    assert FAMILIES.keys() == BASES.keys() | NOT_COMPUTED_HERE
    for family, base in BASES.items():
        tried = {name for name, _ in REFUSED[family]} | {
            f"rope_parameters.{part}" for values in CARRIED[family] for part in values.get("rope_parameters", {})
        }
        tried |= {name for values in CARRIED[family] for name in values}
        # What the class has no room for cannot be at another value.
        possible = base.config.to_dict().keys()
        untried = [
            field.name
            for field in FAMILIES[family]
            if field.name not in tried and (field.name in possible or field.name.startswith("rope_parameters."))
        ]
        assert untried == ["rope_parameters.partial_rotary_factor"], family
