# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Rules for the fields of a Hugging Face config that several model families share.

A value is supported if Megatron-Bridge applies it to Megatron's model, and a flag of Megatron-LM applies it to the model
that Megatron-LM builds. Read from the config classes and models of transformers 5.12, the bridges of Megatron-Bridge
0.6.2, and the parser and builder of Megatron-LM core 0.19. The tests compute both sides for each value.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


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


def only(*values: Any) -> Callable[[Any, Any], bool]:
    """Return a function that supports these values alone."""
    # Distinguish 1 from True and 0 from False, which are equal in Python.
    return lambda value, config: any(
        value == each and isinstance(value, bool) == isinstance(each, bool) for each in values
    )


def is_number(value: Any) -> bool:
    """Return whether a value is a number."""
    # True equals 1 in Python and transformers, but is not a value of a flag.
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_integer(value: Any, config: Any) -> bool:
    return is_number(value) and value == int(value) and 0 < value < _TOO_LARGE


def _is_base(value: Any, config: Any) -> bool:
    # YaRN divides by log(base).
    return _is_integer(value, config) and (value > 1 or config.rope_parameters.get("rope_type") != "yarn")


def is_positive(value: Any, config: Any) -> bool:
    """Return whether a value is a positive, finite number."""
    return is_number(value) and 0 < value < float("inf")


def is_probability(value: Any, config: Any) -> bool:
    """Return whether a value is a probability."""
    return is_number(value) and 0 <= value <= 1


def _is_positive_or_none(value: Any, config: Any) -> bool:
    return value is None or is_positive(value, config)


def _is_rope_length(value: Any, config: Any) -> bool:
    return bool(value == config.rope_parameters.get("original_max_position_embeddings"))


def is_window(value: Any, config: Any) -> bool:
    """Return whether a value is the size of a window, or none."""
    return value is None or (type(value) is int and value > 0)


def _all_full(value: Any, config: Any) -> bool:
    return value is None or all(kind == "full_attention" for kind in value)


def no_window_in_use(value: Any, config: Any) -> bool:
    """Return whether no sliding window is used."""
    return value is None or not getattr(config, "use_sliding_window", False)


def topk(value: Any, config: Any) -> bool:
    """Return whether Megatron Core can route each token to so many experts."""
    if not is_number(value) or not 0 < value <= config.num_local_experts:
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
    FieldRule("rms_norm_eps", "positive numbers", is_positive),
    FieldRule("tie_word_embeddings"),
)

SILU = FieldRule(
    "hidden_act",
    "silu",
    only("silu"),
    f"Megatron-LM has a flag for gated SiLU (--swiglu), but not for other gated activations. {_BRIDGE}",
)
NO_ATTENTION_BIAS = FieldRule(
    "attention_bias", "false", only(False, None), "Megatron-Bridge does not convert attention biases of this model."
)
NO_MLP_BIAS = FieldRule(
    "mlp_bias", "false", only(False, None), "Megatron-Bridge does not convert MLP biases of this model."
)

_ROPE_BASE = FieldRule(
    "rope_parameters.rope_theta", "integers", _is_base, f"--rotary-base requires an integer. {_BRIDGE}"
)
PART_OF_HEAD = (
    FieldRule("partial_rotary_factor", "more than 0, at most 1", lambda value, config: 0 < value <= 1),
    FieldRule("rope_parameters.partial_rotary_factor", "more than 0, at most 1", lambda value, config: 0 < value <= 1),
)


def rope_type(*types: str) -> FieldRule:
    """Return the rule that supports these types of rotary embeddings."""
    return FieldRule("rope_parameters.rope_type", ", ".join(types), only(*types))


_LLAMA3 = (
    FieldRule("rope_parameters.low_freq_factor", "1", only(1, None), "Megatron Core hard-codes it."),
    FieldRule("rope_parameters.high_freq_factor", "4", only(4, None), "Megatron Core hard-codes it."),
)
_YARN = (
    FieldRule("rope_parameters.beta_fast", "positive numbers, none", _is_positive_or_none),
    FieldRule("rope_parameters.beta_slow", "positive numbers, none", _is_positive_or_none),
    FieldRule("rope_parameters.truncate", "true, false", only(True, False)),
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
    return _is_integer(value, config) if kind == "linear" else is_positive(value, config)


def _llama_original(value: Any, config: Any) -> bool:
    return type(value) is int and (config.rope_parameters.get("rope_type") != "llama3" or value == 8192)


LLAMA_ROPE = (
    rope_type("default", "linear", "llama3", "yarn"),
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
YARN_ROPE = (
    rope_type("default", "yarn"),
    FieldRule("rope_parameters.factor", "positive numbers", is_positive),
    FieldRule(
        "rope_parameters.original_max_position_embeddings",
        "integers (8192, not 8192.0)",
        lambda value, config: type(value) is int,
    ),
    *_YARN,
)

# `layer_types` alone decides which layers have a window.
QWEN_WINDOW = (
    FieldRule("use_sliding_window"),
    FieldRule("max_window_layers"),
    FieldRule("sliding_window"),
    FieldRule(
        "layer_types", "full_attention", _all_full, "Megatron-Bridge does not support sliding windows for this model."
    ),
)

# Groups of experts, of which each token uses the experts of some.
ROUTER_GROUPS = (
    FieldRule("n_group", "1 and more", lambda value, config: value >= 1),
    FieldRule(
        "topk_group",
        "values with num_experts_per_tok // topk_group = 2; any if n_group is 1",
        lambda value, config: config.n_group == 1 or config.num_experts_per_tok // value == 2,
        "Megatron Core scores a group by its best num_experts_per_tok // topk_group experts, transformers by the best two.",
    ),
)
NORMALIZED_TOPK = (
    FieldRule(
        "num_experts_per_tok", "2 and more", lambda value, config: value > 1, "Megatron Core does not normalize top-1."
    ),
    FieldRule("norm_topk_prob", "true", only(True)),
)

ROUTED_SCALING = FieldRule("routed_scaling_factor", "positive numbers", is_positive)

LATENT = (
    FieldRule(
        "num_key_value_heads",
        "num_attention_heads",
        lambda value, config: bool(value == config.num_attention_heads),
        "Latent attention has no groups of heads.",
    ),
    FieldRule(
        "q_lora_rank",
        "1 and more",
        lambda value, config: bool(value),
        "Megatron Core has a norm that models without this projection lack.",
    ),
    FieldRule("kv_lora_rank"),
    FieldRule("qk_nope_head_dim"),
    FieldRule("qk_rope_head_dim"),
    FieldRule("head_dim", "qk_rope_head_dim", lambda value, config: bool(value == config.qk_rope_head_dim)),
    FieldRule(
        "qk_head_dim",
        "the sum of qk_nope_head_dim and qk_rope_head_dim",
        lambda value, config: bool(value == config.qk_nope_head_dim + config.qk_rope_head_dim),
    ),
    FieldRule(
        "rms_norm_eps",
        "more than 0, at most 1e-5",
        lambda value, config: is_positive(value, config) and value <= 1e-5,
        "transformers uses 1e-6 in the norms of latent attention, Megatron Core the model's.",
    ),
    FieldRule("v_head_dim"),
    FieldRule("n_routed_experts"),
    FieldRule("n_shared_experts", "1 and more", lambda value, config: bool(value)),
    FieldRule("moe_intermediate_size"),
    FieldRule("first_k_dense_replace"),
    ROUTED_SCALING,
    FieldRule("moe_layer_freq", "1", only(1, None)),
    FieldRule("num_nextn_predict_layers"),
    FieldRule("aux_loss_alpha"),
    FieldRule("ep_size"),
    FieldRule("pretraining_tp"),
    FieldRule("seq_aux"),
)


def _is_latent_rope(value: Any, config: Any) -> bool:
    """Return whether Megatron Core computes the rotary embedding of latent attention as transformers does."""
    rope = config.rope_parameters
    scales = rope.get("mscale"), rope.get("mscale_all_dim")
    usual = scales == (None, None) or all(is_positive(scale, config) for scale in scales)
    return value == "default" or (value == "yarn" and usual)


LATENT_ROPE = (
    FieldRule(
        "rope_parameters.rope_type",
        "default; yarn with both of mscale and mscale_all_dim above 0, or with neither",
        _is_latent_rope,
        "transformers has other defaults for one of them than Megatron Core.",
    ),
    FieldRule("rope_parameters.factor", "positive numbers", is_positive),
    FieldRule("rope_parameters.original_max_position_embeddings", "4096", only(4096), _NOTHING),
    FieldRule("rope_parameters.beta_fast", "32, none", only(32, None), _NOTHING),
    FieldRule("rope_parameters.beta_slow", "1, none", only(1, None), _NOTHING),
    FieldRule("rope_parameters.truncate", "true", only(True), _NOTHING),
    FieldRule("rope_parameters.mscale"),
    FieldRule("rope_parameters.mscale_all_dim"),
    _YARN[-1],
)

DROPOUT = FieldRule("attention_dropout", "0 to 1", is_probability)
NO_DROPOUT = FieldRule(
    "attention_dropout",
    "0",
    only(0),
    "Megatron-Bridge does not read it for this model. Pass --attention-dropout to Megatron-LM.",
)
COMMON = (
    *_SIZES,
    _ROPE_BASE,
    FieldRule("rope_parameters.partial_rotary_factor", "1", only(1, None)),
    # transformers reads these, although no config class declares them.
    FieldRule("is_causal", "true", only(True)),
    FieldRule("original_max_position_embeddings", "the value in rope_parameters", _is_rope_length),
)
