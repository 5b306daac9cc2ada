# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Rules for the fields of a Hugging Face config, by model family: which values a release supports."""

from collections.abc import Mapping
from typing import Any

from megatron.bridge.release.source.config_file import HARMLESS_FIELDS
from megatron.bridge.release.validation.field_rules import (
    COMMON,
    DROPOUT,
    LATENT,
    LATENT_ROPE,
    LLAMA_ROPE,
    NO_ATTENTION_BIAS,
    NO_DROPOUT,
    NO_MLP_BIAS,
    NORMALIZED_TOPK,
    PART_OF_HEAD,
    QWEN_WINDOW,
    ROUTED_SCALING,
    ROUTER_GROUPS,
    SILU,
    YARN_ROPE,
    FieldRule,
    is_number,
    is_positive,
    is_probability,
    is_window,
    no_window_in_use,
    only,
    rope_type,
    topk,
)


_HARD_CODED = "Megatron-Bridge hard-codes it."


def _repeated(types: list[str], config: Any) -> list[str]:
    layers = config.num_hidden_layers
    return (types * layers)[:layers]


_UNTIED = FieldRule(
    "tie_word_embeddings", "false", only(False), "Megatron-Bridge does not tie this model's output layer."
)
_MLP_LAYER_TYPES = FieldRule(
    "mlp_layer_types",
    "dense for the first first_k_dense_replace layers (1 if missing), then sparse",
    lambda value, config: (
        value
        == (["dense"] * getattr(config, "first_k_dense_replace", 1) + ["sparse"] * config.num_hidden_layers)[
            : config.num_hidden_layers
        ]
    ),
    "Megatron-Bridge reads first_k_dense_replace.",
)
_SEVERAL_EXPERTS = NORMALIZED_TOPK[0]
_LINEAR_ATTENTION = (
    FieldRule("linear_conv_kernel_dim"),
    FieldRule("linear_key_head_dim"),
    FieldRule("linear_value_head_dim"),
    FieldRule("linear_num_key_heads"),
    FieldRule("linear_num_value_heads"),
    FieldRule("layer_types"),
)
_QWEN3_5 = (
    *COMMON,
    *PART_OF_HEAD,
    DROPOUT,
    SILU,
    NO_ATTENTION_BIAS,
    *_LINEAR_ATTENTION,
    FieldRule("full_attention_interval"),
    # Text has the same position on each of the three axes.
    FieldRule("rope_parameters.mrope_interleaved"),
    FieldRule("rope_parameters.mrope_section"),
    FieldRule("attn_output_gate", "true", only(True, None)),
    FieldRule("mamba_ssm_dtype"),
    FieldRule("mlp_only_layers", "none", only([], None)),
    FieldRule("mtp_num_hidden_layers"),
    FieldRule("mtp_use_dedicated_embeddings", "false", only(False, None)),
)

_RULES: Mapping[str, tuple[FieldRule, ...]] = {
    "llama": (*COMMON, DROPOUT, SILU, NO_ATTENTION_BIAS, NO_MLP_BIAS, *LLAMA_ROPE),
    "mistral": (
        *COMMON,
        SILU,
        NO_DROPOUT,
        FieldRule("sliding_window", "none, 1 and more", is_window),
        rope_type("default"),
    ),
    "mixtral": (
        *COMMON,
        DROPOUT,
        SILU,
        FieldRule("sliding_window", "none, 1 and more", is_window),
        FieldRule("num_local_experts"),
        FieldRule(
            "num_experts_per_tok",
            "2 to num_local_experts",
            lambda value, config: is_number(value) and 1 < value <= config.num_local_experts,
            "Megatron Core requires pre-softmax routing for top-1, in which the probabilities are not normalized.",
        ),
        FieldRule(
            "router_jitter_noise",
            "0",
            only(0),
            "transformers applies it to the input of the router and the experts, Megatron Core to that of the router alone.",
        ),
        *YARN_ROPE,
    ),
    "qwen2": (*COMMON, DROPOUT, SILU, *QWEN_WINDOW, *YARN_ROPE, FieldRule("use_mrope", "false", only(False, None))),
    "qwen3": (*COMMON, DROPOUT, SILU, NO_ATTENTION_BIAS, *QWEN_WINDOW, *YARN_ROPE),
    "qwen3_moe": (
        *COMMON,
        DROPOUT,
        SILU,
        NO_ATTENTION_BIAS,
        FieldRule("use_sliding_window"),
        FieldRule("max_window_layers"),
        FieldRule(
            "sliding_window",
            "none",
            no_window_in_use,
            "Megatron-Bridge does not support sliding windows for this model.",
        ),
        FieldRule("num_experts"),
        FieldRule("num_local_experts"),
        FieldRule(
            "num_experts_per_tok",
            "2 and more; 1 if norm_topk_prob is false",
            topk,
            "Megatron Core requires pre-softmax routing for top-1, which cannot express norm_topk_prob=true.",
        ),
        FieldRule("norm_topk_prob"),
        FieldRule("moe_intermediate_size"),
        FieldRule(
            "decoder_sparse_step", "1", only(1), "Megatron-Bridge converts every layer of this model as an MoE layer."
        ),
        FieldRule(
            "mlp_only_layers",
            "none",
            only([], None),
            "Megatron-Bridge converts every layer of this model as an MoE layer.",
        ),
        *YARN_ROPE,
    ),
    "deepseek_v2": (
        *COMMON,
        _UNTIED,
        DROPOUT,
        SILU,
        NO_ATTENTION_BIAS,
        NO_MLP_BIAS,
        FieldRule(
            "topk_method",
            "greedy",
            only("greedy"),
            "Megatron Core scores a group of experts by the sum of its best ones, transformers by the best one.",
        ),
        FieldRule("scoring_func", "softmax", only("softmax", None)),
        FieldRule("norm_topk_prob", "false", only(False)),
        FieldRule("num_experts_per_tok"),
        FieldRule(
            "n_group", "1", only(1, None), "transformers ignores it with greedy routing, Megatron Core does not."
        ),
        FieldRule(
            "topk_group", "1", only(1, None), "transformers ignores it with greedy routing, Megatron Core does not."
        ),
        *LATENT,
        FieldRule(
            "rope_parameters.rope_type",
            "default",
            only("default"),
            "Megatron Core scales the attention by mscale_all_dim, transformers does not for this model.",
        ),
    ),
    "deepseek_v3": (
        *COMMON,
        _UNTIED,
        DROPOUT,
        SILU,
        NO_ATTENTION_BIAS,
        FieldRule("topk_method", "noaux_tc", only("noaux_tc", None)),
        FieldRule("scoring_func", "sigmoid", only("sigmoid", None)),
        FieldRule("rope_interleave", "true", only(True, None)),
        *NORMALIZED_TOPK,
        *ROUTER_GROUPS,
        *LATENT,
        *LATENT_ROPE,
    ),
    "glm4_moe": (
        *COMMON,
        *PART_OF_HEAD,
        _UNTIED,
        DROPOUT,
        SILU,
        FieldRule("attention_bias"),
        FieldRule("use_qk_norm"),
        FieldRule("n_routed_experts"),
        FieldRule(
            "n_shared_experts", "1", only(1), "Megatron-Bridge converts one shared expert of moe_intermediate_size."
        ),
        FieldRule("moe_intermediate_size"),
        FieldRule("first_k_dense_replace"),
        ROUTED_SCALING,
        FieldRule("num_nextn_predict_layers"),
        *NORMALIZED_TOPK,
        *ROUTER_GROUPS,
        rope_type("default"),
    ),
    "glm4_moe_lite": (
        *COMMON,
        _UNTIED,
        DROPOUT,
        SILU,
        NO_ATTENTION_BIAS,
        FieldRule("topk_method", "noaux_tc", only("noaux_tc", None)),
        FieldRule("rope_interleave", "true", only(True, None)),
        FieldRule("partial_rotary_factor", "1", only(1, None)),
        _MLP_LAYER_TYPES,
        *NORMALIZED_TOPK,
        *ROUTER_GROUPS,
        *LATENT,
        rope_type("default"),
    ),
    "gpt_oss": (
        *COMMON,
        _UNTIED,
        DROPOUT,
        SILU,
        FieldRule("attention_bias", "true", only(True)),
        FieldRule("num_local_experts"),
        _SEVERAL_EXPERTS,
        FieldRule("experts_per_token"),
        FieldRule("initial_context_length"),
        FieldRule("swiglu_limit", "7", only(7, None), "transformers and Megatron-Bridge hard-code it."),
        FieldRule("sliding_window", "1 and more", lambda value, config: type(value) is int and value > 0),
        FieldRule(
            "layer_types",
            "sliding_attention and full_attention in turn",
            lambda value, config: value == _repeated(["sliding_attention", "full_attention"], config),
        ),
        FieldRule(
            "rope_parameters.rope_type",
            "yarn with truncate = false",
            lambda value, config: value == "yarn" and config.rope_parameters.get("truncate") is False,
            _HARD_CODED,
        ),
        FieldRule("rope_parameters.factor", "32", only(32), _HARD_CODED),
        FieldRule("rope_parameters.original_max_position_embeddings", "4096", only(4096), _HARD_CODED),
        *(
            FieldRule(f"rope_parameters.{name}", "none", only(None), _HARD_CODED)
            for name in ("attention_factor", "mscale", "mscale_all_dim")
        ),
        FieldRule("rope_parameters.beta_fast", "32", only(32, None), _HARD_CODED),
        FieldRule("rope_parameters.beta_slow", "1", only(1, None), _HARD_CODED),
        FieldRule("rope_parameters.truncate", "false", only(False), _HARD_CODED),
    ),
    "qwen3_next": (
        *COMMON,
        *PART_OF_HEAD,
        DROPOUT,
        SILU,
        NO_ATTENTION_BIAS,
        *_LINEAR_ATTENTION,
        FieldRule("use_sliding_window"),
        FieldRule("num_experts"),
        FieldRule("moe_intermediate_size"),
        FieldRule("shared_expert_intermediate_size"),
        *NORMALIZED_TOPK,
        FieldRule("decoder_sparse_step", "1", only(1, None)),
        FieldRule("mlp_only_layers", "none", only([], None)),
        rope_type("default"),
    ),
    "qwen3_5_text": (*_QWEN3_5, rope_type("default")),
    "qwen3_5_moe_text": (
        *_QWEN3_5,
        FieldRule("num_experts"),
        FieldRule("moe_intermediate_size"),
        FieldRule("shared_expert_intermediate_size"),
        _SEVERAL_EXPERTS,
        rope_type("default"),
    ),
    "hy_v3": (
        *COMMON,
        DROPOUT,
        SILU,
        NO_ATTENTION_BIAS,
        NO_MLP_BIAS,
        _MLP_LAYER_TYPES,
        FieldRule("num_experts"),
        _SEVERAL_EXPERTS,
        FieldRule("num_shared_experts", "1 and more", lambda value, config: bool(value)),
        FieldRule("moe_intermediate_size"),
        FieldRule("router_scaling_factor", "positive numbers", is_positive),
        FieldRule("num_nextn_predict_layers"),
        # transformers does not read them; they describe what it always computes, or a precision.
        FieldRule("enable_attention_fp32_softmax"),
        FieldRule("enable_lm_head_fp32"),
        FieldRule("enable_moe_fp32_combine"),
        FieldRule("expert_hidden_dim"),
        FieldRule("first_k_dense_replace"),
        FieldRule("moe_router_enable_expert_bias", "true", only(True, None)),
        FieldRule("moe_router_use_sigmoid", "true", only(True, None)),
        FieldRule("qk_norm", "true", only(True, None)),
        FieldRule("route_norm", "true", only(True, None)),
        rope_type("default"),
    ),
    "exaone_moe": (
        *COMMON,
        DROPOUT,
        SILU,
        FieldRule("sliding_window", "1 and more", lambda value, config: type(value) is int and value > 0),
        FieldRule("sliding_window_pattern"),
        FieldRule("layer_types"),
        FieldRule("mlp_layer_types"),
        FieldRule("first_k_dense_replace"),
        FieldRule("num_experts"),
        FieldRule("num_shared_experts", "1 and more", lambda value, config: bool(value)),
        FieldRule("moe_intermediate_size"),
        ROUTED_SCALING,
        FieldRule("num_nextn_predict_layers"),
        FieldRule("topk_method", "noaux_tc", only("noaux_tc", None)),
        FieldRule("scoring_func", "sigmoid", only("sigmoid", None)),
        *NORMALIZED_TOPK,
        *ROUTER_GROUPS,
        rope_type("default"),
    ),
    "seed_oss": (
        *COMMON,
        DROPOUT,
        SILU,
        FieldRule("attention_bias"),
        FieldRule("attention_out_bias", "false", only(False, None), "Megatron-Bridge does not convert this bias."),
        NO_MLP_BIAS,
        FieldRule("residual_dropout", "0 to 1", is_probability),
        *YARN_ROPE,
    ),
    "phi3": (
        *COMMON,
        *PART_OF_HEAD,
        DROPOUT,
        SILU,
        FieldRule("original_max_position_embeddings"),
        FieldRule("sliding_window", "none, 1 and more", is_window),
        FieldRule("resid_pdrop", "0 to 1", is_probability),
        FieldRule("embd_pdrop", "0 to 1", is_probability),
        # transformers does not read them.
        FieldRule("attention_bias"),
        FieldRule("full_attn_mod"),
        FieldRule("interpolate_factor"),
        FieldRule("lm_head_bias"),
        FieldRule("mlp_bias"),
        rope_type("default"),
    ),
    "ernie4_5": (*COMMON, SILU, FieldRule("use_bias", "true, false", only(True, False)), rope_type("default")),
    "nemotron": (
        *COMMON,
        *PART_OF_HEAD,
        FieldRule("norm_eps", "positive numbers", is_positive),
        FieldRule("rms_norm_eps", "none", only(None), "transformers reads norm_eps, Megatron-Bridge both."),
        FieldRule("hidden_act", "relu2", only("relu2")),
        NO_DROPOUT,
        NO_ATTENTION_BIAS,
        NO_MLP_BIAS,
        rope_type("default"),
    ),
}

# A later rule of a family for the same field replaces an earlier one.
FAMILIES: Mapping[str, tuple[FieldRule, ...]] = {
    family: tuple({rule.name: rule for rule in rules}.values()) for family, rules in _RULES.items()
}

# Fields that no model computes with: tokens, training losses, generation, history of the config.
IGNORED_FIELDS = HARMLESS_FIELDS | {
    *("architectures", "auto_map", "dtype", "model_type", "quantization_config", "torch_dtype")
}
