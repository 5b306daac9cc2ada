# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Compares a Megatron model that a caller built with its Hugging Face config."""

from argparse import Namespace
from typing import Any

from megatron.core.utils import get_model_config

from megatron.bridge.release.megatron_args.args import megatron_lm_args, unsupported_fields
from megatron.bridge.release.megatron_args.comparison import FIELDS_WITHOUT_ARGUMENT, differing_arguments
from megatron.bridge.release.validation.errors import ModelDifferenceError, NoModelError


def config_of(model: Any) -> Any:
    """Return the config of a Megatron model, or of a list of its parts."""
    parts = model if isinstance(model, list) else [model]
    if not parts:
        raise NoModelError
    return get_model_config(parts[0])


def args_of(provider: Any) -> Namespace:
    """Return the args of a model provider for `differing_arguments`, with the fields that no argument sets."""
    args = megatron_lm_args(provider)
    setattr(args, FIELDS_WITHOUT_ARGUMENT, unsupported_fields(provider))
    return args


def imported_args(bridge: Any) -> Namespace:
    """Return the args of an import of a bridge's model, as `args_of`."""
    provider = bridge.to_megatron_provider(load_weights=False)
    provider.finalize()
    return args_of(provider)


def check_provider_matches(bridge: Any, config: Any) -> None:
    """Check that a Megatron model, whose weights may be trained, computes the function of its Hugging Face config.

    Args:
        bridge: The `AutoBridge` of the Hugging Face model.
        config: The config of the Megatron model.

    Raises:
        ModelDifferenceError: If it does not.
    """
    differences = differing_arguments(args_of(config), imported_args(bridge))
    if differences:
        unsupported = unsupported_fields(config)
        name = getattr(bridge.to_megatron_provider(load_weights=False), "hf_model_id", None)
        raise ModelDifferenceError(
            name or "its Hugging Face config",
            tuple(
                f"{name} is set" if name in unsupported else f"{name} is {value!r} (expected {expected!r})"
                for name, (value, expected) in differences.items()
            ),
        )
