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

"""An exported config is the source's, with what the checkpoint's args say, as transformers 4 and 5 read it."""

import copy
import json
from argparse import Namespace
from typing import Any

import pytest
import torch
from transformers import (
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
    Qwen3MoeConfig,
)

from megatron.bridge import AutoBridge
from megatron.bridge.release.export.config import export_config, exported_vocab_size
from megatron.bridge.release.export.config_errors import (
    InexpressibleArgsError,
    InvalidTrainedConfigError,
    TokenizerMismatchError,
    VocabSizeMismatchError,
)
from megatron.bridge.release.megatron_args.args import megatron_lm_args
from megatron.bridge.release.megatron_args.comparison import describe_differences, differing_arguments
from megatron.bridge.release.megatron_args.errors import UnknownRopeFactorError
from megatron.bridge.release.rope_factor import BUILT_FACTOR
from megatron.bridge.release.validation.provider import imported_args


SIZES = dict(
    vocab_size=500,
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=2048,
    rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
)
LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
CONFIGS = {
    "Llama 2": LlamaConfig(**SIZES | dict(num_key_value_heads=4)),
    "Llama 3": LlamaConfig(**SIZES, rms_norm_eps=9.999999747378752e-06),
    "Llama 3.1": LlamaConfig(
        **SIZES | dict(rope_parameters={"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, **LLAMA3})
    ),
    "Llama 3.2": LlamaConfig(
        **SIZES | dict(rope_parameters={"rope_type": "llama3", "rope_theta": 5e5, "factor": 32.0, **LLAMA3}),
        tie_word_embeddings=True,
    ),
    "Llama, linear": LlamaConfig(
        **SIZES | dict(rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0})
    ),
    "Mistral": MistralConfig(**SIZES, sliding_window=None),
    "Mistral, window": MistralConfig(**SIZES, sliding_window=24),
    "Qwen2": Qwen2Config(**SIZES),
    "Qwen2.5": Qwen2Config(**SIZES, tie_word_embeddings=True),
    "Qwen2.5, yarn": Qwen2Config(
        **SIZES
        | dict(
            rope_parameters={
                "rope_type": "yarn",
                "rope_theta": 1e6,
                "factor": 4.0,
                "original_max_position_embeddings": 512,
            }
        )
    ),
    "Qwen3": Qwen3Config(**SIZES, head_dim=32),
    "Qwen3-MoE": Qwen3MoeConfig(
        **SIZES, head_dim=16, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32, norm_topk_prob=True
    ),
}
for config in CONFIGS.values():
    config.architectures = [type(config).__name__.replace("Config", "ForCausalLM")]


def _args(config: PretrainedConfig, **changes: Any) -> Namespace:
    """Return the args of a training that started from an import of a config."""
    provider = AutoBridge.from_hf_config(config).to_megatron_provider(load_weights=False)
    provider.finalize()
    args = megatron_lm_args(provider)
    if args.use_rope_scaling:
        setattr(args, BUILT_FACTOR, args.rope_scaling_factor)
    return Namespace(**copy.deepcopy(vars(args)) | changes)


def _source(config: PretrainedConfig) -> dict[str, Any]:
    return json.loads(config.to_json_string(use_diff=False))


def _export(name: str, dtype: str = "bfloat16", vocab_size: int | None = None, **changes: Any) -> dict[str, Any]:
    config = CONFIGS[name]
    bridge = AutoBridge.from_hf_config(config)
    return export_config(_args(config, **changes), _source(config), bridge, dtype=dtype, vocab_size=vocab_size)


def _changes(name: str, exported: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that an export changed, without those of the older form that it adds."""
    source = _source(CONFIGS[name])
    rope = source["rope_parameters"]
    added = {"dtype": "bfloat16", "torch_dtype": "bfloat16", "rope_theta": rope["rope_theta"]}
    scaling = {"type": rope["rope_type"], **{key: value for key, value in rope.items() if key != "rope_theta"}}
    added["rope_scaling"] = None if rope["rope_type"] == "default" else scaling
    return {key: value for key, value in exported.items() if value != (source | added).get(key, "absent")}


@pytest.mark.parametrize("name", CONFIGS)
def test_unchanged_args_keep_the_config(name):
    exported = _export(name)
    assert _changes(name, exported) == {}
    assert {*exported} == {*_source(CONFIGS[name]), "rope_theta", "rope_scaling", "torch_dtype"}


# What a training changed, and the fields that follow.
CHANGES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "epsilon": ("Llama 2", {"layernorm_epsilon": 3e-5}, {"rms_norm_eps": 3e-5}),
    "epsilon as float32 has it": ("Llama 3", {"layernorm_epsilon": 1e-5}, {}),
    "length": ("Qwen2", {"max_position_embeddings": 8192, "seq_length": 8192}, {"max_position_embeddings": 8192}),
    "sequence length": ("Qwen2", {"seq_length": 128}, {}),
    "window": ("Mistral, window", {"window_size": (9, 0)}, {"sliding_window": 10}),
    "a window where none was": ("Mistral", {"window_size": [9, 0]}, {"sliding_window": 10}),
    "no window": ("Mistral, window", {"window_size": None}, {"sliding_window": None}),
    "chosen experts": ("Qwen3-MoE", {"moe_router_topk": 3}, {"num_experts_per_tok": 3}),
    "scores before": ("Qwen3-MoE", {"moe_router_pre_softmax": True}, {"norm_topk_prob": False}),
    "dropout": ("Qwen3", {"attention_dropout": 0.1, "hidden_dropout": 0.1}, {}),
    "layout": ("Qwen3-MoE", {"tensor_model_parallel_size": 2, "expert_model_parallel_size": 2}, {}),
}
DEFAULT = {"rope_type": "default"}
LINEAR = {"rope_type": "linear", "factor": 2.0}
SCALED = {"rope_type": "llama3", "factor": 8.0, **LLAMA3}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512}
# What a training changed, and the rope parameters that follow, with the base.
ROPES: dict[str, tuple[str, dict[str, Any], dict[str, Any], float]] = {
    "base": ("Llama 2", {"rotary_base": 54321}, DEFAULT, 54321.0),
    "base of llama3": ("Llama 3.1", {"rotary_base": 54321}, SCALED, 54321.0),
    "base of mistral": ("Mistral", {"rotary_base": 54321}, DEFAULT, 54321.0),
    "base of yarn": ("Qwen2.5, yarn", {"rotary_base": 54321}, YARN, 54321.0),
    "scaling": ("Llama 2", {"use_rope_scaling": True}, SCALED, 10000.0),
    "no scaling": ("Llama 3.2", {"use_rope_scaling": False}, DEFAULT, 5e5),
    "factor": ("Llama 3.1", {"rope_scaling_factor": 32.0, BUILT_FACTOR: 32.0}, SCALED | {"factor": 32.0}, 5e5),
    "factor of a plain script": ("Llama 3.2", {"rope_scaling_factor": 8.0, BUILT_FACTOR: None}, SCALED, 5e5),
    "interpolation": ("Llama 2", {"rotary_seq_len_interpolation_factor": 2}, LINEAR, 10000.0),
    "no interpolation": ("Llama, linear", {"rotary_seq_len_interpolation_factor": None}, DEFAULT, 10000.0),
    "factor of yarn": ("Qwen2.5, yarn", {"rotary_scaling_factor": 8.0}, YARN | {"factor": 8.0}, 1e6),
    "no yarn": ("Qwen2.5, yarn", {"position_embedding_type": "rope"}, DEFAULT, 1e6),
    "yarn": (
        "Qwen3",
        {
            "position_embedding_type": "yarn",
            "rotary_scaling_factor": 4.0,
            "yarn_original_max_position_embeddings": 512,
            "mscale": 1.0,
            "mscale_all_dim": 0.0,
        },
        YARN | {"truncate": True},
        10000.0,
    ),
    "a longer model of yarn": ("Qwen2.5, yarn", {"max_position_embeddings": 4096}, YARN, 1e6),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_argument_changes_config_field(change):
    name, changes, expected = CHANGES[change]
    assert _changes(name, _export(name, **changes)) == expected


@pytest.mark.parametrize("change", ROPES)
def test_changed_rope_is_written_in_both_forms(change):
    name, changes, expected, theta = ROPES[change]
    exported = _export(name, **changes)
    assert exported["rope_parameters"] == expected | {"rope_theta": theta}
    assert exported["rope_theta"] == theta
    older = None if expected == DEFAULT else expected | {"type": expected["rope_type"]}
    assert exported["rope_scaling"] == older


@pytest.mark.parametrize(("name", "changes"), [case[:2] for case in [*CHANGES.values(), *ROPES.values()]])
def test_import_of_exported_config_has_the_trained_args(name, changes):
    config = type(CONFIGS[name]).from_dict(_export(name, **changes))
    imported = imported_args(AutoBridge.from_hf_config(config))
    args = _args(CONFIGS[name], **changes)
    if getattr(args, BUILT_FACTOR, None) is None and args.use_rope_scaling:
        args.rope_scaling_factor = 8.0
    assert differing_arguments(args, imported) == {}


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("Llama 2", {"rotary_percent": 0.5}, "rotary_percent=0.5 (release: 1.0)"),
        ("Llama 2", {"window_size": (9, 0)}, "window_size=(9, 0) (release: None)"),
        ("Llama 2", {"softmax_type": "off-by-one"}, "softmax_type='off-by-one' (release: 'vanilla')"),
        ("Llama 2", {"swiglu": False}, "swiglu=False (release: True)"),
        ("Llama 2", {"num_layers": 3}, "num_layers=3 (release: 2)"),
        ("Llama 2", {"untie_embeddings_and_output_weights": False}, "untie_embeddings_and_output_weights=False"),
        ("Llama 2", {"add_qkv_bias": True}, "add_qkv_bias=True (release: False)"),
        ("Llama 2", {"normalization": "LayerNorm"}, "normalization='LayerNorm' (release: 'RMSNorm')"),
        ("Llama 2", {"spec": ["own", "layers"]}, "spec=('own', 'layers') (release: None)"),
        ("Llama 2", {"rotary_seq_len_interpolation_factor": 2, "use_rope_scaling": True}, "interpolation_factor=2"),
        ("Llama 3.1", {"rotary_seq_len_interpolation_factor": 2}, "rotary_seq_len_interpolation_factor=2"),
        ("Mistral", {"use_rope_scaling": True}, "use_rope_scaling=True"),
        ("Mistral", {"window_size": 9}, "window_size=9 (release: None)"),
        ("Mistral", {"window_size": (9, 1)}, "window_size=(9, 1) (release: None)"),
        ("Mistral, window", {"window_attn_skip_freq": 2}, "window_attn_skip_freq=2 (release: None)"),
        (
            "Mistral",
            {"position_embedding_type": "yarn", "rotary_scaling_factor": 2.0},
            "position_embedding_type='yarn'",
        ),
        ("Qwen2", {"position_embedding_type": "none"}, "position_embedding_type='none' (release: 'rope')"),
        ("Qwen3", {"qk_layernorm": False}, "qk_layernorm=False (release: True)"),
        ("Qwen3", {"num_experts": 4}, "num_experts=4 (release: None)"),
        ("Qwen3", {"mtp_num_layers": 1}, "mtp_num_layers=1 (release: None)"),
        ("Qwen3-MoE", {"moe_expert_capacity_factor": 1.0}, "moe_expert_capacity_factor=1.0 (release: None)"),
        ("Qwen3-MoE", {"moe_router_enable_expert_bias": True}, "moe_router_enable_expert_bias=True"),
        ("Qwen3-MoE", {"moe_router_score_function": "sigmoid"}, "moe_router_score_function='sigmoid'"),
        ("Qwen3-MoE", {"moe_router_topk": 1}, "moe_router_topk=1 (release: 2)"),
    ],
)
def test_inexpressible_argument_is_refused(name, changes, expected):
    with pytest.raises(InexpressibleArgsError) as raised:
        _export(name, **changes)
    assert expected in describe_differences(raised.value.differences, "release")


@pytest.mark.parametrize(
    ("changes", "differences"),
    [
        ({"rotary_percent": 0.5}, {"rotary_percent": (0.5, 1.0)}),
        # transformers refuses a config with this value.
        ({"window_size": (9.5, 0)}, {"window_size": ((9.5, 0), (23, 0))}),
    ],
)
def test_inexpressible_args_are_refused(changes, differences):
    with pytest.raises(InexpressibleArgsError) as raised:
        _export("Mistral, window", **changes)
    assert raised.value.differences == differences


def test_args_that_lead_to_an_invalid_config_are_refused():
    with pytest.raises(InvalidTrainedConfigError) as raised:
        _export("Mistral, window", max_position_embeddings=4096.5)
    assert "'max_position_embeddings' expected int, got float" in raised.value.reason


def test_all_differences_are_reported():
    with pytest.raises(InexpressibleArgsError) as raised:
        _export("Llama 2", rotary_percent=0.5, qk_layernorm=True, rotary_base=7)
    assert sorted(raised.value.differences) == ["qk_layernorm", "rotary_percent"]


def test_unrecorded_rope_factor_is_refused():
    with pytest.raises(UnknownRopeFactorError):
        _export("Llama 3.2", **{BUILT_FACTOR: None})


def _transformers_4(config: dict[str, Any]) -> tuple[Any, ...]:
    """Read what transformers 4 reads: it knows neither rope_parameters nor, before 4.56, dtype."""
    scaling = config.get("rope_scaling")
    kind = "default" if scaling is None else scaling.get("rope_type", scaling.get("type"))
    return config.get("rope_theta", 10000.0), kind, (scaling or {}).get("factor"), config.get("torch_dtype")


@pytest.mark.parametrize(
    "form",
    [
        {
            "rope_theta": 5e5,
            "rope_scaling": {"rope_type": "llama3", "factor": 8.0, **LLAMA3},
            "torch_dtype": "float32",
        },
        {"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, **LLAMA3}, "dtype": "float32"},
    ],
    ids=["older", "newer"],
)
def test_source_of_either_form_is_exported_in_both(form):
    ropes = {"rope_parameters", "rope_theta", "rope_scaling", "dtype", "torch_dtype"}
    kept = {key: value for key, value in _source(CONFIGS["Llama 3.1"]).items() if key not in ropes}
    source = kept | form | {"a field of its own": [1], "transformers_version": "4.40.0"}
    before = copy.deepcopy(source)
    bridge = AutoBridge.from_hf_config(CONFIGS["Llama 3.1"])
    exported = export_config(_args(CONFIGS["Llama 3.1"]), source, bridge, dtype="bfloat16")
    assert source == before
    assert {key: exported[key] for key in exported.keys() - ropes} == {
        key: source[key] for key in source.keys() - ropes
    }
    assert _transformers_4(exported) == (5e5, "llama3", 8.0, "bfloat16")
    assert exported["rope_parameters"] == {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, **LLAMA3}
    newer = LlamaConfig.from_dict(copy.deepcopy(exported))
    assert newer.dtype is torch.bfloat16
    assert {key: value for key, value in newer.rope_parameters.items() if key != "type"} == exported["rope_parameters"]


def test_source_without_base_gets_the_default_base():
    source = {key: value for key, value in _source(CONFIGS["Llama 2"]).items() if not key.startswith("rope")}
    bridge = AutoBridge.from_hf_config(CONFIGS["Llama 2"])
    exported = export_config(_args(CONFIGS["Llama 2"], rotary_base=77), source, bridge, dtype="float16")
    assert _transformers_4(exported) == (77.0, "default", None, "float16")
    assert _transformers_4(export_config(_args(CONFIGS["Llama 2"]), source, bridge, dtype="float16"))[0] == 10000.0


def test_vocab_size_is_that_of_the_exported_rows():
    assert _changes("Llama 2", _export("Llama 2", vocab_size=600)) == {"vocab_size": 600}


SOURCE = {"vocab_size": 500}


@pytest.mark.parametrize(
    ("args", "rows", "tokenizer_size", "expected"),
    [
        ({}, 500, None, 500),
        ({"make_vocab_size_divisible_by": 128}, 512, None, 500),
        ({"make_vocab_size_divisible_by": 128, "tensor_model_parallel_size": 8}, 1024, None, 500),
        # An import pads to 128 rows at any layout.
        ({"make_vocab_size_divisible_by": 128, "tensor_model_parallel_size": 2}, 512, None, 500),
        ({"make_vocab_size_divisible_by": 1}, 500, None, 500),
        ({"make_vocab_size_divisible_by": 100, "tensor_model_parallel_size": 4}, 800, None, 500),
        # Other layouts, as Megatron-LM records them.
        ({"make_vocab_size_divisible_by": 128, "tensor_model_parallel_size": 6, "vocab_size": 500}, 768, None, 500),
        ({"make_vocab_size_divisible_by": 64, "tensor_model_parallel_size": 6, "vocab_size": 500}, 768, None, 500),
        ({"make_vocab_size_divisible_by": 1, "tensor_model_parallel_size": 6}, 504, None, 500),
        ({"make_vocab_size_divisible_by": 96, "tensor_model_parallel_size": 3}, 576, None, 500),
        ({"make_vocab_size_divisible_by": 128}, 640, 600, 600),
        # The source's config may declare more rows than its tokenizer has tokens.
        ({"make_vocab_size_divisible_by": 128}, 512, 490, 500),
        ({"make_vocab_size_divisible_by": 16}, 496, 490, 490),
        ({"make_vocab_size_divisible_by": 128, "vocab_size": 510}, 512, 510, 510),
    ],
)
def test_exported_rows_follow_from_padding_or_tokenizer(args, rows, tokenizer_size, expected):
    assert exported_vocab_size(Namespace(**args), SOURCE, rows, tokenizer_size) == expected
    assert exported_vocab_size(Namespace(**args), {"text_config": SOURCE}, rows, tokenizer_size) == expected


@pytest.mark.parametrize(
    ("args", "rows", "tokenizer_size", "expected"),
    [
        ({"make_vocab_size_divisible_by": 128}, 640, None, {"rows": 640, "trained": None, "declared": 500}),
        ({"make_vocab_size_divisible_by": 128}, 384, None, {"rows": 384, "trained": None, "declared": 500}),
        # Padded by an earlier layout, or grown: the args do not record which.
        (
            {"make_vocab_size_divisible_by": 128, "vocab_size": 500, "padded_vocab_size": 768},
            *(768, None, {"rows": 768, "trained": 500, "declared": 500}),
        ),
        # Tokens that grew into the padding.
        (
            {"make_vocab_size_divisible_by": 128, "vocab_size": 510},
            *(512, None, {"rows": 512, "trained": 510, "declared": 500}),
        ),
        ({"make_vocab_size_divisible_by": 128}, 512, 513, {"tokens": 513, "rows": 512}),
        # Rows that were trained would be cut off.
        ({"make_vocab_size_divisible_by": 128, "vocab_size": 600}, 640, 550, {"tokens": 550, "rows": None}),
        ({"make_vocab_size_divisible_by": 128, "vocab_size": 600}, 640, 400, {"tokens": 400, "rows": None}),
    ],
)
def test_unexplained_number_of_rows_is_refused(args, rows, tokenizer_size, expected):
    error = VocabSizeMismatchError if tokenizer_size is None else TokenizerMismatchError
    with pytest.raises(error) as raised:
        exported_vocab_size(Namespace(**args), SOURCE, rows, tokenizer_size)
    assert vars(raised.value).items() >= expected.items()
