# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Table of Megatron-LM's arguments: which fields of a model provider determine which argument.

Importing this module imports neither torch nor Megatron Core.
"""

import math
import operator
from dataclasses import dataclass
from typing import Any, Callable


@dataclass(frozen=True)
class Argument:
    """An argument of Megatron-LM's parser, and the model fields that determine its value.

    Attributes:
        name: Name in the parsed namespace.
        flag: The option; None if a launch does not pass it.
        default: The parser's default. If it is a bool, the flag takes no value and sets the opposite.
        model_fields: The model fields; empty for the field of the same name.
        convert: Computes the value from the values of the fields.
        types: Types that the parser accepts. Values of other types are not passed.
        pattern: Whether a list is passed as one layer pattern; otherwise each item is passed by itself.
        training: Whether it belongs to the training: it changes neither the tensors nor the function of the model. These
            are lengths, dropout, dtypes, precision, and the balance of experts.
        later: Whether core 0.14 lacks it, so that its checkpoints were trained with the default. Core 0.14 to 0.20 have
            all other arguments.
    """

    name: str
    flag: str | None
    default: Any = None
    model_fields: tuple[str, ...] = ()
    convert: Callable[..., Any] = lambda value: value
    types: type | tuple[type, ...] = object
    pattern: bool = False
    training: bool = False
    later: bool = False

    @property
    def fields(self) -> tuple[str, ...]:
        """The model fields that determine the argument."""
        return self.model_fields or (self.name,)

    def value(self, model: Any) -> Any:
        """Compute the argument of a model. A missing field counts as None."""
        return self.convert(*(getattr(model, field, None) for field in self.fields))


def _to_int_if_integral(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


# A model provider has the functions themselves. Their modules are imported late because that takes seconds.


def _is_swiglu(function: Callable[..., Any], gated: bool) -> bool:
    import torch.nn.functional as F

    return function is F.silu and gated


def _is_quick_geglu(function: Callable[..., Any], gated: bool) -> bool:
    from megatron.core.fusions.fused_bias_geglu import quick_gelu

    return function is quick_gelu and gated


def _is_squared_relu(function: Callable[..., Any], gated: bool) -> bool:
    from megatron.core.activations import squared_relu

    return function is squared_relu and not gated


# Megatron-LM pads the vocabulary to a multiple of this times the TP size; so padded, a model loads at any TP size.
_VOCABULARY_MULTIPLE = 128


def _vocabulary_multiple(divisible_by: int | None) -> int:
    return math.lcm(_VOCABULARY_MULTIPLE, divisible_by or 1)


def _padded_vocab_size(vocab_size: int | None, divisible_by: int | None) -> int | None:
    multiple = _vocabulary_multiple(divisible_by)
    return None if vocab_size is None else -(-vocab_size // multiple) * multiple


MODEL = (
    Argument("num_layers", "--num-layers"),
    Argument("hidden_size", "--hidden-size"),
    Argument("ffn_hidden_size", "--ffn-hidden-size"),
    Argument("num_attention_heads", "--num-attention-heads"),
    Argument(
        "group_query_attention",
        "--group-query-attention",
        False,
        ("num_query_groups",),
        lambda groups: groups is not None,
    ),
    Argument("num_query_groups", "--num-query-groups", 1),
    Argument("kv_channels", "--kv-channels"),
    Argument("seq_length", "--seq-length", training=True),
    Argument("max_position_embeddings", "--max-position-embeddings", model_fields=("seq_length",), training=True),
    Argument("position_embedding_type", "--position-embedding-type", "learned_absolute"),
    Argument("rotary_base", "--rotary-base", 10000, convert=_to_int_if_integral, types=int),
    Argument("rotary_percent", "--rotary-percent", 1.0),
    Argument("rotary_interleaved", "--rotary-interleaved", False),
    Argument(
        "rotary_seq_len_interpolation_factor",
        "--rotary-seq-len-interpolation-factor",
        model_fields=("seq_len_interpolation_factor",),
        convert=_to_int_if_integral,
        types=int,
    ),
    Argument("normalization", "--normalization", "LayerNorm"),
    Argument("layernorm_epsilon", "--norm-epsilon", 1e-05),
    Argument("layernorm_zero_centered_gamma", "--apply-layernorm-1p", False),
    Argument("qk_layernorm", "--qk-layernorm", False),
    Argument("add_bias_linear", "--disable-bias-linear", True),
    Argument(
        "add_qkv_bias",
        "--add-qkv-bias",
        False,
        ("add_qkv_bias", "add_bias_linear"),
        # Megatron-LM's validation sets it like this.
        lambda has_qkv_bias, has_bias: bool(has_qkv_bias or has_bias),
    ),
    Argument("swiglu", "--swiglu", False, ("activation_func", "gated_linear_unit"), _is_swiglu),
    Argument(
        "quick_geglu", "--quick-geglu", False, ("activation_func", "gated_linear_unit"), _is_quick_geglu, later=True
    ),
    Argument(
        "squared_relu",
        "--squared-relu",
        False,
        ("activation_func", "gated_linear_unit"),
        _is_squared_relu,
    ),
    Argument(
        "untie_embeddings_and_output_weights",
        "--untie-embeddings-and-output-weights",
        False,
        ("share_embeddings_and_output_weights",),
        operator.not_,
    ),
    Argument("attention_dropout", "--attention-dropout", 0.1, training=True),
    Argument("hidden_dropout", "--hidden-dropout", 0.1, training=True),
    Argument("vocab_size", "--vocab-size", training=True),
    Argument(
        "make_vocab_size_divisible_by",
        "--make-vocab-size-divisible-by",
        128,
        convert=_vocabulary_multiple,
        training=True,
    ),
    Argument(
        "padded_vocab_size",
        "--padded-vocab-size",
        model_fields=("vocab_size", "make_vocab_size_divisible_by"),
        convert=_padded_vocab_size,
        training=True,
    ),
    Argument("bf16", "--bf16", False, training=True),
    Argument("fp16", "--fp16", False, training=True),
)

# Megatron-LM refuses query groups with multi-latent attention.
_WITHOUT_QUERY_GROUPS = tuple(
    argument for argument in MODEL if argument.name not in ("group_query_attention", "num_query_groups")
)

_ROPE_SCALING = (
    Argument("use_rope_scaling", "--use-rope-scaling", False, ("rope_scaling",)),
    Argument("rope_scaling_factor", "--rope-scaling-factor", 8.0),
)

_EXPERTS = (
    Argument("num_experts", "--num-experts", model_fields=("num_moe_experts",)),
    Argument("moe_ffn_hidden_size", "--moe-ffn-hidden-size"),
    Argument("moe_layer_freq", "--moe-layer-freq", 1, pattern=True),
    Argument("moe_router_topk", "--moe-router-topk", 2),
    Argument("moe_router_pre_softmax", "--moe-router-pre-softmax", False),
    Argument("moe_router_score_function", "--moe-router-score-function", "softmax"),
    Argument("moe_router_topk_scaling_factor", "--moe-router-topk-scaling-factor"),
    Argument("moe_router_enable_expert_bias", "--moe-router-enable-expert-bias", False),
    Argument("moe_router_num_groups", "--moe-router-num-groups"),
    Argument("moe_router_group_topk", "--moe-router-group-topk"),
    Argument("moe_router_dtype", "--moe-router-dtype", training=True),
    Argument("moe_router_load_balancing_type", "--moe-router-load-balancing-type", "aux_loss"),
    Argument("moe_router_bias_update_rate", "--moe-router-bias-update-rate", 0.001, training=True),
    Argument("moe_aux_loss_coeff", "--moe-aux-loss-coeff", 0.0, training=True),
    Argument("moe_z_loss_coeff", "--moe-z-loss-coeff", training=True),
    Argument("moe_shared_expert_intermediate_size", "--moe-shared-expert-intermediate-size"),
    Argument("moe_shared_expert_gate", "--moe-shared-expert-gate", False, later=True),
    Argument("moe_grouped_gemm", "--moe-grouped-gemm", False, training=True),
    Argument("moe_token_dispatcher_type", "--moe-token-dispatcher-type", "allgather", training=True),
)

_MULTI_LATENT_ATTENTION = (
    Argument("multi_latent_attention", "--multi-latent-attention", False),
    Argument("q_lora_rank", "--q-lora-rank"),
    Argument("kv_lora_rank", "--kv-lora-rank", 32),
    Argument("qk_head_dim", "--qk-head-dim", 128),
    Argument("qk_pos_emb_head_dim", "--qk-pos-emb-head-dim", 64),
    Argument("v_head_dim", "--v-head-dim", 128),
    Argument("rope_type", "--rope-type"),
    Argument("rotary_scaling_factor", "--rotary-scaling-factor", 1.0),
    Argument("mscale", "--mscale", 1.0),
    Argument("mscale_all_dim", "--mscale-all-dim", 0.0),
)

_YARN = (
    Argument("rotary_scaling_factor", "--rotary-scaling-factor", 1.0, ("yarn_rotary_scaling_factor",)),
    Argument("mscale", "--mscale", 1.0, ("yarn_mscale",)),
    Argument("mscale_all_dim", "--mscale-all-dim", 0.0, ("yarn_mscale_all_dim",)),
    Argument("yarn_original_max_position_embeddings", "--yarn-original-max-position-embeddings", later=True),
    Argument("yarn_beta_fast", "--yarn-beta-fast", later=True),
    Argument("yarn_beta_slow", "--yarn-beta-slow", later=True),
    # The parser's default is None, which means True.
    Argument(
        "yarn_correction_range_round_to_int",
        "--no-yarn-correction-range-round-to-int",
        convert=lambda rounds: False if rounds is False else None,
        later=True,
    ),
)

# Few models need these, and not every version of Megatron-LM has them: passed only if they differ from the default.
OPTIONAL_ARGUMENTS = (
    Argument("activation_func_clamp_value", "--activation-func-clamp-value", later=True),
    Argument("apply_query_key_layer_scaling", "--apply-query-key-layer-scaling", False),
    Argument("apply_residual_connection_post_layernorm", "--apply-residual-connection-post-layernorm", False),
    Argument("attention_output_gate", "--attention-output-gate", False, later=True),
    Argument("attention_softmax_in_fp32", "--attention-softmax-in-fp32", False, training=True),
    Argument("disable_bf16_reduced_precision_matmul", "--disable-bf16-reduced-precision-matmul", False, training=True),
    Argument("dsa_indexer_head_dim", "--dsa-indexer-head-dim", later=True),
    Argument("dsa_indexer_k_norm_epsilon", "--dsa-indexer-k-norm-epsilon", later=True),
    Argument("dsa_indexer_k_norm_fp32", "--dsa-indexer-k-norm-fp32", False, later=True),
    Argument("dsa_indexer_n_heads", "--dsa-indexer-n-heads", later=True),
    Argument("dsa_indexer_rope_interleaved", "--dsa-indexer-rope-interleaved", False, later=True),
    Argument("dsa_indexer_rotate_activation", "--no-dsa-indexer-rotate-activation", True, later=True),
    Argument("dsa_indexer_scoring_relu", "--no-dsa-indexer-scoring-relu", True, later=True),
    Argument("dsa_indexer_skip_topk_offset", "--dsa-indexer-skip-topk-offset", 0, later=True),
    Argument("dsa_indexer_topk", "--dsa-indexer-topk", later=True),
    Argument("dsa_indexer_topk_freq", "--dsa-indexer-topk-freq", 1, later=True),
    Argument("experimental_attention_variant", "--experimental-attention-variant", later=True),
    Argument("fp32_residual_connection", "--fp32-residual-connection", False, training=True),
    Argument("glu_linear_offset", "--glu-linear-offset", 0.0, later=True),
    Argument("linear_attention_freq", "--linear-attention-freq", pattern=True, later=True),
    Argument("linear_conv_kernel_dim", "--linear-conv-kernel-dim", 4, later=True),
    Argument("linear_key_head_dim", "--linear-key-head-dim", 128, later=True),
    Argument("linear_num_key_heads", "--linear-num-key-heads", 16, later=True),
    Argument("linear_num_value_heads", "--linear-num-value-heads", 32, later=True),
    Argument("linear_value_head_dim", "--linear-value-head-dim", 128, later=True),
    Argument("moe_apply_probs_on_input", "--moe-apply-probs-on-input", False),
    Argument("moe_expert_capacity_factor", "--moe-expert-capacity-factor"),
    Argument("moe_input_jitter_eps", "--moe-input-jitter-eps"),
    Argument("moe_latent_size", "--moe-latent-size", later=True),
    Argument("moe_pad_expert_input_to_capacity", "--moe-pad-expert-input-to-capacity", False),
    Argument("moe_token_drop_policy", "--moe-token-drop-policy", "probs"),
    Argument("mrope_section", "--mrope-section"),
    Argument("mtp_loss_scaling_factor", "--mtp-loss-scaling-factor", 0.1, training=True),
    Argument("mtp_num_layers", "--mtp-num-layers"),
    Argument("mtp_use_repeated_layer", "--mtp-use-repeated-layer", False, later=True),
    Argument("mup_attn_scale_power", "--mup-attn-scale-power", 1.0, later=True),
    Argument("mup_base_head_dim", "--mup-base-head-dim", later=True),
    Argument("mup_base_hidden_size", "--mup-base-hidden-size", later=True),
    Argument("mup_embedding_mult", "--mup-embedding-mult", 1.0, later=True),
    Argument("mup_output_mult", "--mup-output-mult", 1.0, later=True),
    Argument("no_rope_freq", "--no-rope-freq", pattern=True),
    Argument("qk_l2_norm", "--qk-l2-norm", False),
    Argument("softmax_type", "--softmax-type", "vanilla", later=True),
    Argument("use_mup", "--use-mup", False, later=True),
    Argument("window_attn_skip_freq", "--window-attn-skip-freq", pattern=True, later=True),
    Argument(
        "window_size",
        "--window-size",
        # A number is the window of a custom layer of the provider.
        convert=lambda window: tuple(window) if isinstance(window, list) else window,
        types=tuple,
        later=True,
    ),
)

_HYBRID = (
    Argument("hybrid_layer_pattern", "--hybrid-layer-pattern"),
    Argument(
        "is_hybrid_model",
        "--is-hybrid-model",
        False,
        ("is_hybrid_model", "hybrid_layer_pattern"),
        lambda is_hybrid, pattern: bool(is_hybrid or pattern),
    ),
    Argument("mamba_state_dim", "--mamba-state-dim", 128),
    Argument("mamba_head_dim", "--mamba-head-dim", 64),
    Argument("mamba_num_groups", "--mamba-num-groups", 8),
    Argument("mamba_num_heads", "--mamba-num-heads"),
)

# Parallel layout of the run that wrote the checkpoint. Not passed: the checkpoint loads at any layout.
_LAYOUT = (
    Argument("tensor_model_parallel_size", None, 1),
    Argument("pipeline_model_parallel_size", None, 1),
    Argument("virtual_pipeline_model_parallel_size", None),
    Argument("context_parallel_size", None, 1),
    Argument("expert_model_parallel_size", None, 1),
    Argument("expert_tensor_parallel_size", None),
)

MODEL_PARALLELISM = ("tensor_model", "pipeline_model", "context")

ARGUMENTS = (
    *MODEL,
    *_ROPE_SCALING,
    *_EXPERTS,
    *_MULTI_LATENT_ATTENTION,
    *_YARN,
    *_HYBRID,
    *OPTIONAL_ARGUMENTS,
    *_LAYOUT,
)

# Names of the arguments that describe the model, not the layout of a run.
MODEL_ARGUMENTS = frozenset(argument.name for argument in ARGUMENTS if argument not in _LAYOUT)
COMPUTED_ARGUMENTS = MODEL_ARGUMENTS - {argument.name for argument in ARGUMENTS if argument.training}
LATER_ARGUMENTS = frozenset(argument.name for argument in ARGUMENTS if argument.later)

# Model fields that change what a GPT model computes, without an argument of Megatron-LM.
UNSUPPORTED_FIELDS = (
    "beta_fast",
    "beta_slow",
    "heterogeneous_block_specs",
    "logit_dtype",
    "moe_router_topk_limited_devices",
    "original_max_position_embeddings",
    "quant_recipe",
    "softmax_scale",
)

# Defaults of other arguments that readers of a checkpoint need, for hosts without Megatron-LM's parser.
PARSER_DEFAULTS: dict[str, Any] = {
    "add_position_embedding": True,
    "bias_gelu_fusion": True,
    "bias_swiglu_fusion": True,
    "ckpt_fully_parallel_save": True,
    "config_logger_dir": "",
    "cp_comm_type": ["p2p"],
    "data_parallel_random_init": False,
    "decoder_first_pipeline_num_layers": None,
    "decoder_last_pipeline_num_layers": None,
    "fp16_lm_cross_entropy": False,
    "fp8_param_gather": False,
    "global_batch_size": None,
    "heterogeneous_layers_config_encoded_json": None,
    "heterogeneous_layers_config_path": None,
    "hybrid_override_pattern": None,
    "init_method_xavier_uniform": False,
    "moe_single_grouped_bias": False,
    "moe_single_grouped_weight": False,
    "mtp_hybrid_override_pattern": None,
    "no_persist_layer_norm": False,
    "num_layers_per_virtual_pipeline_stage": None,
    "overlap_p2p_comm": True,
    "spec": None,
    "tiktoken_pattern": None,
    "transformer_impl": "transformer_engine",
    "use_rotary_position_embeddings": False,
}


def tables_of(model: Any) -> list[tuple[Argument, ...]]:
    """Return the tables that apply to a model provider or to its args."""
    is_latent = getattr(model, "multi_latent_attention", False)
    tables = [_WITHOUT_QUERY_GROUPS if is_latent else MODEL, OPTIONAL_ARGUMENTS, _LAYOUT]
    if getattr(model, "rope_scaling", False) or getattr(model, "use_rope_scaling", False):
        tables.append(_ROPE_SCALING)
    if getattr(model, "num_moe_experts", None) or getattr(model, "num_experts", None):
        tables.append(_EXPERTS)
    if is_latent:
        tables.append(_MULTI_LATENT_ATTENTION)
    elif getattr(model, "position_embedding_type", None) == "yarn":
        tables.append(_YARN)
    if getattr(model, "hybrid_layer_pattern", None):
        tables.append(_HYBRID)
    return tables
