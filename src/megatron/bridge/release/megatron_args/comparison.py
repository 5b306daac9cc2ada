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

"""Compares the args of two checkpoints: what differs in the functions that Megatron-LM computes.

Importing this module imports neither torch nor Megatron Core.
"""

import math
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from megatron.bridge.release.megatron_args.table import MODEL_ARGUMENTS, tables_of
from megatron.bridge.release.rope_factor import BUILT_FACTOR, BUILT_IN_ROPE_SCALING_FACTOR, is_factor_ignored


# What a caller may choose for a training: lengths, dropout, dtypes, precision, and the balance of experts. The tensors,
# and what is computed of them, stay the same.
_CHOSEN_FOR_TRAINING = frozenset(
    {
        "attention_dropout",
        "attention_softmax_in_fp32",
        "bf16",
        "disable_bf16_reduced_precision_matmul",
        "fp16",
        "fp32_residual_connection",
        "hidden_dropout",
        "make_vocab_size_divisible_by",
        "max_position_embeddings",
        "moe_aux_loss_coeff",
        "moe_grouped_gemm",
        "moe_router_bias_update_rate",
        "moe_router_dtype",
        "moe_token_dispatcher_type",
        "moe_z_loss_coeff",
        "mtp_loss_scaling_factor",
        "padded_vocab_size",
        "seq_length",
        # Rows beyond the model's are padding.
        "vocab_size",
    }
)

# What arguments were called before core 0.16 (0.17 for the last).
_OLDER_NAMES = {
    "layernorm_epsilon": "norm_epsilon",
    "layernorm_zero_centered_gamma": "apply_layernorm_1p",
    "hybrid_layer_pattern": "hybrid_override_pattern",
}

# Methods of load balancing that leave the choice of experts alone.
_LOSSES = {"aux_loss", "seq_aux_loss", "global_aux_loss", "none"}

# Arguments that change what is computed and that no import sets, with their defaults.
_NEVER_IMPORTED: dict[str, Any] = {
    "enable_hyper_connections": False,
    "enable_mhc_connections": False,
    "heterogeneous_layers_config_encoded_json": None,
    "heterogeneous_layers_config_path": None,
    "moe_expert_rank_capacity_factor": None,
    "moe_mlp_glu_interleave_size": None,
    "moe_router_force_biased": None,
    "moe_router_force_load_balancing": False,
    "moe_shared_expert_glu_interleave_size": None,
    "mtp_hybrid_override_pattern": None,
    "spec": None,
    "use_legacy_models": False,
    "yaml_cfg": None,
}

# Arguments that core 0.14 lacks: a checkpoint without one was trained with its default. All other arguments are in the
# args of every version from core 0.14 to 0.20.
_LATER_ARGUMENTS = frozenset(
    {
        *(
            "activation_func_clamp_value",
            "attention_output_gate",
            "dsa_indexer_head_dim",
            "dsa_indexer_k_norm_epsilon",
        ),
        *("dsa_indexer_k_norm_fp32", "dsa_indexer_n_heads", "dsa_indexer_rope_interleaved"),
        *("dsa_indexer_rotate_activation", "dsa_indexer_scoring_relu", "dsa_indexer_skip_topk_offset"),
        *("dsa_indexer_topk", "dsa_indexer_topk_freq", "experimental_attention_variant", "glu_linear_offset"),
        *("linear_attention_freq", "linear_conv_kernel_dim", "linear_key_head_dim", "linear_num_key_heads"),
        *("linear_num_value_heads", "linear_value_head_dim", "moe_latent_size", "moe_shared_expert_gate"),
        *("mtp_use_repeated_layer", "mup_attn_scale_power", "mup_base_head_dim", "mup_base_hidden_size"),
        *("mup_embedding_mult", "mup_output_mult", "quick_geglu", "softmax_type", "use_mup", "window_attn_skip_freq"),
        *("window_size", "yarn_beta_fast", "yarn_beta_slow", "yarn_correction_range_round_to_int"),
        "yarn_original_max_position_embeddings",
    }
)

# Arguments that decide which other ones are needed. Every version has them.
_TABLE_SWITCHES = {"multi_latent_attention", "num_experts", "use_rope_scaling"}

# Arguments that this package computes with: each is a number, the optional ones may be None.
_NUMBERS = ("hidden_size", "layernorm_epsilon", "num_attention_heads", "num_layers", "rotary_base")
_OPTIONAL_NUMBERS = (
    *(BUILT_FACTOR, "make_vocab_size_divisible_by", "max_position_embeddings", "rope_scaling_factor"),
    *("rotary_seq_len_interpolation_factor", "seq_length", "tensor_model_parallel_size", "vocab_size"),
)

# Set in args that are derived from a model provider: names of the fields that no argument gives to Megatron-LM.
FIELDS_WITHOUT_ARGUMENT = "megatron_bridge_fields_without_argument"

# Float32 rounds within this distance, relative to a number.
_FLOAT32 = 2.0**-23


class UnknownRopeFactorError(ValueError):
    """Raised if a checkpoint does not record which rope scaling factor its training applied.

    Attributes:
        factor: The factor in the checkpoint's args.
    """

    def __init__(self, factor: Any) -> None:
        super().__init__(
            f"Unknown rope scaling factor: the checkpoint's args contain rope_scaling_factor={factor!r}, which "
            f"Megatron-LM's own scripts ignore (they apply {BUILT_IN_ROPE_SCALING_FACTOR:g}). The args do not record which "
            f"factor the training applied. Pass rope_scaling_factor={BUILT_IN_ROPE_SCALING_FACTOR:g} for an unmodified "
            f"script, rope_scaling_factor={factor!r} for a corrected one."
        )
        self.factor = factor


def applied_rope_scaling_factor(args: Namespace) -> float | None:
    """Return the rope scaling factor that the training of a checkpoint applied.

    Args:
        args: Args of the checkpoint.

    Returns:
        The factor; None without ``--use-rope-scaling``.

    Raises:
        UnknownRopeFactorError: If the args do not record it.
    """
    if not getattr(args, "use_rope_scaling", False):
        return None
    applied = getattr(args, BUILT_FACTOR, None)
    if applied is not None:
        return float(applied)
    parsed = getattr(args, "rope_scaling_factor", None)
    if is_factor_ignored(True, parsed):
        raise UnknownRopeFactorError(parsed)
    return BUILT_IN_ROPE_SCALING_FACTOR


class ArgsError(ValueError):
    """Raised if the args of a checkpoint do not describe how it was trained.

    Attributes:
        names: The arguments that are missing or of another type.
    """

    def __init__(self, problem: str, names: list[str]) -> None:
        super().__init__(
            f"The checkpoint's args {problem}, so how the model was trained is not known. Save the checkpoint with "
            "Megatron-LM or Megatron-Bridge."
        )
        self.names = names


def check_args(args: Namespace) -> None:
    """Require that Megatron-LM's args contain each argument that decides what the model computes.

    Args:
        args: Args of a checkpoint of any Megatron-LM from core 0.14 on.

    Raises:
        ArgsError: If an argument is missing, is NaN or Inf, or is not a number where one is needed. One line.
    """
    values = vars(in_current_names(args))
    needed = {argument.name for table in tables_of(Namespace(**values)) for argument in table}
    needed &= MODEL_ARGUMENTS - _CHOSEN_FOR_TRAINING - _LATER_ARGUMENTS
    if missing := sorted((needed | _TABLE_SWITCHES) - values.keys()):
        raise ArgsError(f"lack {', '.join(missing)}", missing)
    for name in (*_NUMBERS, *_OPTIONAL_NUMBERS):
        value = values.get(name)
        if type(value) not in (int, float) and not (value is None and name in _OPTIONAL_NUMBERS):
            raise ArgsError(f"contain {name}={value!r}, which is not a number", [name])
    for name in sorted({*MODEL_ARGUMENTS, *_OPTIONAL_NUMBERS} & values.keys()):
        if isinstance(values[name], float) and not math.isfinite(values[name]):
            raise ArgsError(f"contain {name}={values[name]!r}, which is not a finite number", [name])


def differing_arguments(args: Namespace, expected: Namespace) -> dict[str, tuple[Any, Any]]:
    """Compare args of any Megatron-LM from core 0.14 on, by what the model computes.

    How a run was laid out and what a training may choose are left out. An argument that a version lacks counts as its
    default.

    Args:
        args: Args of a checkpoint.
        expected: Args to compare them with.

    Returns:
        The value and the expected value of each argument that differs, by its name.
    """
    values, others = _computed_values(args), _computed_values(expected)
    names = sorted(values.keys() | others.keys())
    pairs = {name: (values.get(name), others.get(name)) for name in names}
    differing = {name: pair for name, pair in pairs.items() if not _is_same(*pair)}
    fields, expected_fields = (set(getattr(each, FIELDS_WITHOUT_ARGUMENT, ())) for each in (args, expected))
    differing.update({name: ("set", None) for name in sorted(fields - expected_fields)})
    return differing


def describe_differences(differences: dict[str, tuple[Any, Any]], origin: str) -> str:
    """Return differing arguments as a text: each name, its value and, after `origin`, the expected value."""
    return ", ".join(f"{name}={value!r} ({origin}: {other!r})" for name, (value, other) in differences.items())


def _computed_values(args: Namespace) -> dict[str, Any]:
    """Return what args say of the computation, in one form for all versions of Megatron-LM."""
    args = in_current_names(args)
    values = {name: getattr(args, name, default) for name, default in _NEVER_IMPORTED.items()}
    for argument in (argument for table in tables_of(args) for argument in table):
        if argument.name in MODEL_ARGUMENTS - _CHOSEN_FOR_TRAINING:
            value = getattr(args, argument.name, None)
            values[argument.name] = argument.default if value is None else value
    return {name: _unified(name, value, args) for name, value in values.items() if name not in _DERIVED}


def in_current_names(args: Namespace) -> Namespace:
    """Return args with the names of the current Megatron-LM, whatever version saved them."""
    values = vars(args)
    older = {name: values[old] for name, old in _OLDER_NAMES.items() if old in values}
    return Namespace(**older | values)


# Said by another argument as well.
_DERIVED = {"group_query_attention", "is_hybrid_model"}


def _unified(name: str, value: Any, args: Namespace) -> Any:
    if name in _UNIFIED:
        value = _UNIFIED[name](value, args)
    return tuple(value) if isinstance(value, list) else value


def _query_groups(value: Any, args: Namespace) -> Any:
    return value if getattr(args, "group_query_attention", False) else getattr(args, "num_attention_heads", None)


def _head_size(value: Any, args: Namespace) -> Any:
    return value if value is not None else args.hidden_size // args.num_attention_heads


def _expert_layers(value: Any, args: Namespace) -> Any:
    # Every so many layers, one of experts, from the first on.
    return [int(layer % value == 0) for layer in range(args.num_layers)] if isinstance(value, int) else value


def _routing_methods(value: Any, args: Namespace) -> Any:
    return sorted({*([value] if isinstance(value, str) else value or ())} - _LOSSES)


def _none_for_zero(value: Any, args: Namespace) -> Any:
    return value or None


_UNIFIED: dict[str, Callable[[Any, Namespace], Any]] = {
    "kv_channels": _head_size,
    "moe_ffn_hidden_size": lambda value, args: value or getattr(args, "ffn_hidden_size", None),
    "moe_layer_freq": _expert_layers,
    "moe_router_load_balancing_type": _routing_methods,
    "moe_shared_expert_intermediate_size": _none_for_zero,
    "mtp_num_layers": _none_for_zero,
    "num_experts": _none_for_zero,
    "num_query_groups": _query_groups,
    "window_size": lambda value, args: None if value in ((-1, -1), [-1, -1]) else value,
    # What Megatron-LM takes for None. Before core 0.19 it has no arguments for yarn: what it applied is not known.
    "yarn_beta_fast": lambda value, args: value or 32.0,
    "yarn_beta_slow": lambda value, args: value or 1.0,
    "yarn_correction_range_round_to_int": lambda value, args: value is not False,
    "yarn_original_max_position_embeddings": lambda value, args: (
        value or (4096 if hasattr(args, "yarn_original_max_position_embeddings") else "unknown")
    ),
}


def _is_same(value: Any, other: Any) -> bool:
    if all(isinstance(number, (int, float)) and not isinstance(number, bool) for number in (value, other)):
        return math.isclose(value, other, rel_tol=_FLOAT32)
    return bool(value == other)
