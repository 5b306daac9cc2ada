# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Compares the args of two checkpoints: the arguments that change what Megatron-LM computes.

Importing this module imports neither torch nor Megatron Core.
"""

import math
from argparse import Namespace
from collections.abc import Callable, Mapping
from typing import Any

from megatron.bridge.release.megatron_args.errors import ArgsError, UnknownRopeFactorError
from megatron.bridge.release.megatron_args.flag_table import (
    COMPUTED_ARGUMENTS,
    LATER_ARGUMENTS,
    MODEL_ARGUMENTS,
    tables_of,
)
from megatron.bridge.release.rope_factor import BUILT_FACTOR, BUILT_IN_ROPE_SCALING_FACTOR, is_factor_ignored


# Names of arguments before core 0.16 (0.17 for the last).
_OLDER_NAMES = {
    "layernorm_epsilon": "norm_epsilon",
    "layernorm_zero_centered_gamma": "apply_layernorm_1p",
    "hybrid_layer_pattern": "hybrid_override_pattern",
}

# Methods of load balancing that do not change which experts are chosen.
_BALANCING_LOSSES = {"aux_loss", "seq_aux_loss", "global_aux_loss", "none"}

# Arguments that change the function of the model and that no import sets, with their defaults.
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


# Arguments that decide which others are needed. Every version has them.
_TABLE_SWITCHES = {"multi_latent_attention", "num_experts", "use_rope_scaling"}

# Arguments that this package computes with must be numbers; the optional ones may be None.
_NUMBERS = ("hidden_size", "layernorm_epsilon", "num_attention_heads", "num_layers", "rotary_base")
_OPTIONAL_NUMBERS = (
    *(BUILT_FACTOR, "make_vocab_size_divisible_by", "max_position_embeddings", "rope_scaling_factor"),
    *("rotary_seq_len_interpolation_factor", "seq_length", "tensor_model_parallel_size", "vocab_size"),
)

# Attribute of args that are derived from a model provider: its fields that Megatron-LM has no argument for.
FIELDS_WITHOUT_ARGUMENT = "megatron_bridge_fields_without_argument"

# Relative distance of adjacent float32 values.
_FLOAT32 = 2.0**-23


def applied_rope_scaling_factor(args: Namespace) -> float | None:
    """Return the rope scaling factor that a training applied; None without ``--use-rope-scaling``.

    Raises:
        UnknownRopeFactorError: If the args of its checkpoint do not record it.
    """
    if not getattr(args, "use_rope_scaling", False):
        return None
    applied = getattr(args, BUILT_FACTOR, None)
    if applied is not None:
        return float(applied)
    parsed: Any = getattr(args, "rope_scaling_factor", None)
    if is_factor_ignored(True, parsed):
        raise UnknownRopeFactorError(parsed)
    return BUILT_IN_ROPE_SCALING_FACTOR


def check_args(args: Namespace) -> None:
    """Check that args contain each argument that decides what the model computes, for Megatron-LM from core 0.14 on.

    Raises:
        ArgsError: If an argument is missing, is NaN or Inf, or is not a number where one is needed.
    """
    values = vars(in_current_names(args))
    needed = {argument.name for table in tables_of(Namespace(**values)) for argument in table}
    needed &= COMPUTED_ARGUMENTS - LATER_ARGUMENTS
    if missing := sorted((needed | _TABLE_SWITCHES) - values.keys()):
        raise ArgsError(tuple(missing), "missing")
    for name in (*_NUMBERS, *_OPTIONAL_NUMBERS):
        value = values.get(name)
        if type(value) not in (int, float) and not (value is None and name in _OPTIONAL_NUMBERS):
            raise ArgsError((name,), "not a number", value)
    for name in sorted({*MODEL_ARGUMENTS, *_OPTIONAL_NUMBERS} & values.keys()):
        if isinstance(values[name], float) and not math.isfinite(values[name]):
            raise ArgsError((name,), "not finite", values[name])


def differing_arguments(args: Namespace, expected: Namespace) -> dict[str, tuple[Any, Any]]:
    """Compare args of any Megatron-LM from core 0.14 on: return the differing values and expected values by name.

    Arguments of the parallel layout and of the training are ignored. A missing argument counts as its default.
    """
    values, expected_values = _computed_values(args), _computed_values(expected)
    names = sorted(values.keys() | expected_values.keys())
    pairs = {name: (values.get(name), expected_values.get(name)) for name in names}
    differing = {name: pair for name, pair in pairs.items() if not _is_same(*pair)}
    fields, expected_fields = (set(getattr(each, FIELDS_WITHOUT_ARGUMENT, ())) for each in (args, expected))
    differing.update({name: ("set", None) for name in sorted(fields - expected_fields)})
    return differing


def describe_differences(differences: Mapping[str, tuple[Any, Any]], origin: str) -> str:
    """Format differing arguments: each name, its value and, after `origin`, the expected value."""
    return ", ".join(f"{name}={value!r} ({origin}: {expected!r})" for name, (value, expected) in differences.items())


def _computed_values(args: Namespace) -> dict[str, Any]:
    """Return the arguments that change what the model computes, in one form for all versions of Megatron-LM."""
    args = in_current_names(args)
    values = {name: getattr(args, name, default) for name, default in _NEVER_IMPORTED.items()}
    for argument in (argument for table in tables_of(args) for argument in table):
        if argument.name in COMPUTED_ARGUMENTS:
            value = getattr(args, argument.name, None)
            values[argument.name] = argument.default if value is None else value
    return {name: _normalized(name, value, args) for name, value in values.items() if name not in _DERIVED}


def in_current_names(args: Namespace) -> Namespace:
    """Rename the arguments of older versions of Megatron-LM."""
    values = vars(args)
    renamed = {name: values[old] for name, old in _OLDER_NAMES.items() if old in values}
    return Namespace(**renamed | values)


# Arguments that follow from others.
_DERIVED = {"group_query_attention", "is_hybrid_model"}


def _normalized(name: str, value: Any, args: Namespace) -> Any:
    if name in _NORMALIZED:
        value = _NORMALIZED[name](value, args)
    return tuple(value) if isinstance(value, list) else value


def _query_groups(value: Any, args: Namespace) -> Any:
    return value if getattr(args, "group_query_attention", False) else getattr(args, "num_attention_heads", None)


def _head_size(value: Any, args: Namespace) -> Any:
    return value if value is not None else args.hidden_size // args.num_attention_heads


def _expert_layers(value: Any, args: Namespace) -> Any:
    # An integer n: layers 0, n, 2n, … are MoE layers.
    return [int(layer % value == 0) for layer in range(args.num_layers)] if isinstance(value, int) else value


def _routing_methods(value: Any, args: Namespace) -> Any:
    return sorted({*([value] if isinstance(value, str) else value or ())} - _BALANCING_LOSSES)


def _none_for_zero(value: Any, args: Namespace) -> Any:
    return value or None


_NORMALIZED: dict[str, Callable[[Any, Namespace], Any]] = {
    "kv_channels": _head_size,
    "moe_ffn_hidden_size": lambda value, args: value or getattr(args, "ffn_hidden_size", None),
    "moe_layer_freq": _expert_layers,
    "moe_router_load_balancing_type": _routing_methods,
    "moe_shared_expert_intermediate_size": _none_for_zero,
    "mtp_num_layers": _none_for_zero,
    "num_experts": _none_for_zero,
    "num_query_groups": _query_groups,
    "window_size": lambda value, args: None if value in ((-1, -1), [-1, -1]) else value,
    # Megatron-LM's defaults for None. Before core 0.19 it has no arguments for yarn, so its values are unknown.
    "yarn_beta_fast": lambda value, args: value or 32.0,
    "yarn_beta_slow": lambda value, args: value or 1.0,
    "yarn_correction_range_round_to_int": lambda value, args: value is not False,
    "yarn_original_max_position_embeddings": lambda value, args: (
        value or (4096 if hasattr(args, "yarn_original_max_position_embeddings") else "unknown")
    ),
}


def _is_same(value: Any, expected: Any) -> bool:
    if all(isinstance(number, (int, float)) and not isinstance(number, bool) for number in (value, expected)):
        return math.isclose(value, expected, rel_tol=_FLOAT32)
    return bool(value == expected)
