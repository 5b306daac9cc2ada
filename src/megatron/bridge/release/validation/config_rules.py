# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Rules for the fields of a Hugging Face config, by model family: which values a release supports.

A value is supported if Megatron-Bridge applies it to Megatron's model, and a flag of Megatron-LM applies it to the model
that Megatron-LM builds. Read from the config classes and models of transformers 5.12, the bridges of Megatron-Bridge
0.6.2, and the parser and builder of Megatron-LM core 0.19. The tests compute both sides for each value.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from megatron.bridge.release.source.config_file import HARMLESS_FIELDS


_BRIDGE = "Train it with Megatron-Bridge."
_TOO_LARGE = 2**53  # Larger integers are not all floats.
_FLOAT32 = 2.0**-23  # Relative precision in which both sides compute.
_NOTHING = "Megatron-LM has no equivalent option."


@dataclass(frozen=True)
class FieldRule:
    """The rule for a field of a config.

    Attributes:
        name: Name of the field. A part of ``rope_parameters`` follows a dot.
        values: Description of the supported values.
        supports: Returns whether a value is supported, given the config.
        hint: What to do about another value.
    """

    name: str
    values: str = "any"
    supports: Callable[[Any, Any], bool] = lambda value, config: True
    hint: str = _NOTHING


def _only(*values: Any) -> Callable[[Any, Any], bool]:
    # Distinguish 1 from True and 0 from False, which are equal in Python.
    return lambda value, config: any(
        value == each and isinstance(value, bool) == isinstance(each, bool) for each in values
    )


def _is_number(value: Any) -> bool:
    # True equals 1 in Python and transformers, but is not a value of a flag.
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_integer(value: Any, config: Any) -> bool:
    return _is_number(value) and value == int(value) and 0 < value < _TOO_LARGE


def _is_base(value: Any, config: Any) -> bool:
    # YaRN divides by log(base).
    return _is_integer(value, config) and (value > 1 or config.rope_parameters.get("rope_type") != "yarn")


def _is_positive(value: Any, config: Any) -> bool:
    return _is_number(value) and 0 < value < float("inf")


def _is_probability(value: Any, config: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _is_positive_or_none(value: Any, config: Any) -> bool:
    return value is None or _is_positive(value, config)


def _is_rope_length(value: Any, config: Any) -> bool:
    return bool(value == config.rope_parameters.get("original_max_position_embeddings"))


def _is_window(value: Any, config: Any) -> bool:
    return value is None or (type(value) is int and value > 0)


def _all_full(value: Any, config: Any) -> bool:
    return value is None or all(kind == "full_attention" for kind in value)


def _no_window_in_use(value: Any, config: Any) -> bool:
    return value is None or not getattr(config, "use_sliding_window", False)


def _topk(value: Any, config: Any) -> bool:
    if not _is_number(value) or not 0 < value <= config.num_local_experts:
        return False
    # Megatron Core does not normalize top-1: see the hint of the rule.
    return value > 1 or not getattr(config, "norm_topk_prob", False)


def _is_usual_attention_factor(value: Any, config: Any) -> bool:
    """Return whether transformers and Megatron Core would compute the same value without the field."""
    if value is None:
        return True
    rope = config.rope_parameters
    scales = rope.get("mscale"), rope.get("mscale_all_dim")

    def scaled(by: float) -> float:
        return 1.0 if rope.get("factor") <= 1 else 0.1 * by * math.log(rope.get("factor")) + 1

    usual = scaled(scales[0]) / scaled(scales[1]) if all(scales) else scaled(1)
    return math.isclose(value, usual, rel_tol=_FLOAT32)


def _both_or_none(other: str) -> Callable[[Any, Any], bool]:
    # Treat 0 as a value: transformers treats 0 like None, Megatron Core does not.
    def is_supported(value: Any, config: Any) -> bool:
        other_value = config.rope_parameters.get(other)
        return other_value is None if value is None else bool(value and other_value)

    return is_supported


_SIZES = (
    FieldRule("vocab_size"),
    FieldRule("hidden_size"),
    FieldRule("intermediate_size"),
    FieldRule("num_hidden_layers"),
    FieldRule("num_attention_heads"),
    FieldRule("num_key_value_heads"),
    FieldRule("head_dim"),
    FieldRule("max_position_embeddings"),
    FieldRule("rms_norm_eps", "positive numbers", _is_positive),
    FieldRule("tie_word_embeddings"),
)

_SILU = FieldRule(
    "hidden_act",
    "silu",
    _only("silu"),
    f"Megatron-LM has a flag for gated SiLU (--swiglu), but not for other gated activations. {_BRIDGE}",
)
_NO_ATTENTION_BIAS = FieldRule(
    "attention_bias", "false", _only(False, None), "Megatron-Bridge does not convert attention biases of this model."
)
_NO_MLP_BIAS = FieldRule(
    "mlp_bias", "false", _only(False, None), "Megatron-Bridge does not convert MLP biases of this model."
)

_ROPE_BASE = FieldRule(
    "rope_parameters.rope_theta", "integers", _is_base, f"--rotary-base requires an integer. {_BRIDGE}"
)
_WHOLE_HEAD = FieldRule("rope_parameters.partial_rotary_factor", "1", _only(1, None))


def _rope_type(*types: str) -> FieldRule:
    return FieldRule("rope_parameters.rope_type", ", ".join(types), _only(*types))


_LLAMA3 = (
    FieldRule("rope_parameters.low_freq_factor", "1", _only(1, None), "Megatron Core hard-codes it."),
    FieldRule("rope_parameters.high_freq_factor", "4", _only(4, None), "Megatron Core hard-codes it."),
)
_YARN = (
    FieldRule("rope_parameters.beta_fast", "positive numbers, none", _is_positive_or_none),
    FieldRule("rope_parameters.beta_slow", "positive numbers, none", _is_positive_or_none),
    FieldRule("rope_parameters.truncate", "true, false", _only(True, False)),
    FieldRule("rope_parameters.mscale", "with mscale_all_dim, or none", _both_or_none("mscale_all_dim")),
    FieldRule("rope_parameters.mscale_all_dim", "with mscale, or none", _both_or_none("mscale")),
    FieldRule(
        "rope_parameters.attention_factor",
        "none, or the value that Megatron Core computes",
        _is_usual_attention_factor,
        "Megatron Core computes it from factor, mscale and mscale_all_dim.",
    ),
)


def _llama_factor(value: Any, config: Any) -> bool:
    kind = config.rope_parameters.get("rope_type")
    return _is_integer(value, config) if kind == "linear" else _is_positive(value, config)


def _llama_original(value: Any, config: Any) -> bool:
    return type(value) is int and (config.rope_parameters.get("rope_type") != "llama3" or value == 8192)


_LLAMA_ROPE = (
    _rope_type("default", "linear", "llama3", "yarn"),
    FieldRule(
        "rope_parameters.factor",
        "any (linear: integers; llama3: see Limits)",
        _llama_factor,
        f"--rotary-seq-len-interpolation-factor requires an integer. {_BRIDGE}",
    ),
    FieldRule(
        "rope_parameters.original_max_position_embeddings",
        "any (llama3: 8192)",
        _llama_original,
        "Megatron Core hard-codes 8192 for rope_type llama3.",
    ),
    *_LLAMA3,
    *_YARN,
)
_YARN_ROPE = (
    _rope_type("default", "yarn"),
    FieldRule("rope_parameters.factor", "positive numbers", _is_positive),
    FieldRule(
        "rope_parameters.original_max_position_embeddings",
        "integers (8192, not 8192.0)",
        lambda value, config: type(value) is int,
    ),
    *_YARN,
)

# `layer_types` alone decides which layers have a window.
_QWEN_WINDOW = (
    FieldRule("use_sliding_window"),
    FieldRule("max_window_layers"),
    FieldRule("sliding_window"),
    FieldRule(
        "layer_types", "full_attention", _all_full, "Megatron-Bridge does not support sliding windows for this model."
    ),
)

_LATENT = (
    FieldRule("q_lora_rank"),
    FieldRule("kv_lora_rank"),
    FieldRule("qk_nope_head_dim"),
    FieldRule("qk_rope_head_dim"),
    FieldRule("qk_head_dim"),
    FieldRule("v_head_dim"),
    FieldRule("n_routed_experts"),
    FieldRule("n_shared_experts", "1 and more", lambda value, config: bool(value)),
    FieldRule("num_experts_per_tok"),
    FieldRule("moe_intermediate_size"),
    FieldRule("first_k_dense_replace"),
    FieldRule("routed_scaling_factor"),
    FieldRule("n_group"),
    FieldRule("topk_group"),
    FieldRule("moe_layer_freq", "1", _only(1, None)),
    FieldRule("num_nextn_predict_layers"),
    FieldRule("aux_loss_alpha"),
    FieldRule("ep_size"),
    FieldRule("seq_aux"),
    _rope_type("default", "yarn"),
    FieldRule("rope_parameters.factor"),
    FieldRule("rope_parameters.original_max_position_embeddings"),
    *_YARN[:2],
    FieldRule("rope_parameters.mscale"),
    FieldRule("rope_parameters.mscale_all_dim"),
    _YARN[-1],
)

_DROPOUT = FieldRule("attention_dropout", "0 to 1", _is_probability)
_NO_DROPOUT = FieldRule(
    "attention_dropout",
    "0",
    _only(0),
    "Megatron-Bridge does not read it for this model. Pass --attention-dropout to Megatron-LM.",
)
_COMMON = (
    *_SIZES,
    _ROPE_BASE,
    _WHOLE_HEAD,
    # transformers reads these, although no config class declares them.
    FieldRule("is_causal", "true", _only(True)),
    FieldRule("original_max_position_embeddings", "the value in rope_parameters", _is_rope_length),
)

FAMILIES: Mapping[str, tuple[FieldRule, ...]] = {
    "llama": (*_COMMON, _DROPOUT, _SILU, _NO_ATTENTION_BIAS, _NO_MLP_BIAS, *_LLAMA_ROPE),
    "mistral": (
        *_COMMON,
        _SILU,
        _NO_DROPOUT,
        FieldRule("sliding_window", "none, 1 and more", _is_window),
        _rope_type("default"),
    ),
    "mixtral": (
        *_COMMON,
        _DROPOUT,
        _SILU,
        FieldRule("sliding_window", "none, 1 and more", _is_window),
        FieldRule("num_local_experts"),
        FieldRule(
            "num_experts_per_tok",
            "2 to num_local_experts",
            lambda value, config: _is_number(value) and 1 < value <= config.num_local_experts,
            "Megatron Core requires pre-softmax routing for top-1, in which the probabilities are not normalized.",
        ),
        FieldRule(
            "router_jitter_noise",
            "0",
            _only(0),
            "transformers applies it to the input of the router and the experts, Megatron Core to that of the router alone.",
        ),
        *_YARN_ROPE,
    ),
    "qwen2": (*_COMMON, _DROPOUT, _SILU, *_QWEN_WINDOW, *_YARN_ROPE),
    "qwen3": (*_COMMON, _DROPOUT, _SILU, _NO_ATTENTION_BIAS, *_QWEN_WINDOW, *_YARN_ROPE),
    "qwen3_moe": (
        *_COMMON,
        _DROPOUT,
        _SILU,
        _NO_ATTENTION_BIAS,
        FieldRule("use_sliding_window"),
        FieldRule("max_window_layers"),
        FieldRule(
            "sliding_window",
            "none",
            _no_window_in_use,
            "Megatron-Bridge does not support sliding windows for this model.",
        ),
        FieldRule("num_experts"),
        FieldRule("num_local_experts"),
        FieldRule(
            "num_experts_per_tok",
            "2 and more; 1 if norm_topk_prob is false",
            _topk,
            "Megatron Core requires pre-softmax routing for top-1, which cannot express norm_topk_prob=true.",
        ),
        FieldRule("norm_topk_prob"),
        FieldRule("moe_intermediate_size"),
        FieldRule(
            "decoder_sparse_step", "1", _only(1), "Megatron-Bridge converts every layer of this model as an MoE layer."
        ),
        FieldRule(
            "mlp_only_layers",
            "none",
            _only([], None),
            "Megatron-Bridge converts every layer of this model as an MoE layer.",
        ),
        *_YARN_ROPE,
    ),
    "gemma": (
        *_COMMON,
        _NO_DROPOUT,
        FieldRule(
            "hidden_act",
            "none",
            lambda value, config: False,
            f"Megatron-LM has no option for Gemma's activation and embedding scaling. {_BRIDGE}",
        ),
        FieldRule("hidden_activation", "any"),
        _NO_ATTENTION_BIAS,
        FieldRule("use_bidirectional_attention", "false", _only(False, None)),
        _rope_type("default"),
    ),
    "deepseek_v2": (
        *_COMMON,
        _DROPOUT,
        _SILU,
        _NO_ATTENTION_BIAS,
        _NO_MLP_BIAS,
        FieldRule("topk_method", "greedy", _only("greedy")),
        FieldRule("scoring_func", "softmax", _only("softmax", None)),
        FieldRule("norm_topk_prob", "false", _only(False)),
        *_LATENT,
    ),
    "deepseek_v3": (
        *_COMMON,
        _DROPOUT,
        _SILU,
        _NO_ATTENTION_BIAS,
        FieldRule("topk_method", "noaux_tc", _only("noaux_tc", None)),
        FieldRule("scoring_func", "sigmoid", _only("sigmoid", None)),
        FieldRule("norm_topk_prob", "true", _only(True)),
        FieldRule("rope_interleave", "true", _only(True, None)),
        *_LATENT,
    ),
}

# Fields that no model computes with: tokens, training losses, generation, history of the config.
IGNORED_FIELDS = HARMLESS_FIELDS | {
    *("architectures", "auto_map", "dtype", "model_type", "quantization_config", "torch_dtype")
}
