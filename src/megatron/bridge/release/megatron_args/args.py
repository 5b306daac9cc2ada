# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Computes Megatron-LM's args of a model: the ``argparse.Namespace`` in the common state of a release."""

import argparse
import functools
import itertools
import logging
import math
from dataclasses import fields
from typing import Any

import torch
import torch.nn.functional as F
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_decoder_block_spec

from megatron.bridge.models.gpt_provider import GPTModelProvider, default_layer_spec
from megatron.bridge.models.mla_provider import MLAModelProvider
from megatron.bridge.release.errors import one_line
from megatron.bridge.release.megatron_args.flag_table import (
    ARGUMENTS,
    MODEL,
    MODEL_PARALLELISM,
    PARSER_DEFAULTS,
    UNSUPPORTED_FIELDS,
    tables_of,
)


logger = logging.getLogger(__name__)


def megatron_lm_args(model: Any) -> argparse.Namespace:
    """Compute the args with which Megatron-LM would have written a model's checkpoint, without a tokenizer.

    Defaults come from Megatron-LM's parser if it is installed, else from the tables. All values are None, bool, int,
    float, str, torch dtypes, or lists and tuples of them, which every reader loads with ``weights_only=True``.

    Args:
        model: The model provider, with the model's values instead of the host's.
    """
    values = {argument.name: argument.default for argument in ARGUMENTS} | PARSER_DEFAULTS | _parser_defaults()
    for argument in itertools.chain(*tables_of(model)):
        value = argument.value(model)
        if value is not None:
            values[argument.name] = value
    world_size = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
    values |= {
        "params_dtype": model.params_dtype,
        "world_size": world_size,
        "data_parallel_size": world_size // math.prod(values[f"{kind}_parallel_size"] for kind in MODEL_PARALLELISM),
        "ckpt_format": "torch_dist",
        "no_save_optim": True,
        "no_save_rng": True,
        "iteration": 0,
        "consumed_train_samples": 0,
        "skipped_train_samples": 0,
        "consumed_valid_samples": 0,
    }
    return argparse.Namespace(**values)


# Layer specs that Megatron-LM builds from arguments: from --experimental-attention-variant, and the usual block of decoders.
_SPECS_OF_ARGUMENTS = (
    "get_transformer_block_with_experimental_attention_variant_spec",
    "_build_exaone_moe_layer_spec",
)


def unsupported_fields(model: Any) -> list[str]:
    """Return the fields, functions and classes of a model provider that Megatron-LM has no argument for.

    If there are none, the model that Megatron-LM builds from `megatron_lm_flags` computes the same function.
    """
    standard = {field.name: field.default for cls in (GPTModelProvider, MLAModelProvider) for field in fields(cls)}
    # Not every version of Bridge has all of them.
    known = [name for name in UNSUPPORTED_FIELDS if name in standard]
    names = [name for name in known if getattr(model, name, standard[name]) != standard[name]]
    for argument in itertools.chain(*tables_of(model)):
        value = argument.value(model)
        if value is not None and not isinstance(value, argument.types):
            names += argument.fields
    if getattr(model, "multi_latent_attention", False) and model.num_query_groups not in (
        None,
        model.num_attention_heads,
    ):
        names.append("num_query_groups")
    if not any(argument.value(model) for argument in MODEL if "activation_func" in argument.fields):
        if model.activation_func is not F.gelu or model.gated_linear_unit:
            gated = "gated " if model.gated_linear_unit else ""
            names.append(f"activation_func={gated}{getattr(model.activation_func, '__name__', model.activation_func)}")
    spec = getattr(model, "transformer_layer_spec", default_layer_spec)
    function = spec.func if isinstance(spec, functools.partial) else spec
    if function not in (default_layer_spec, get_gpt_decoder_block_spec) and (
        getattr(function, "__name__", None) not in _SPECS_OF_ARGUMENTS
    ):
        names.append(f"transformer_layer_spec={getattr(function, '__name__', function)}")
    if getattr(type(model), "provide", None) is not GPTModelProvider.provide:
        names.append(type(model).__name__)
    return names


@functools.cache
def _parser_defaults() -> dict[str, Any]:
    """Return the defaults of Megatron-LM's parser; nothing if it is not installed or does not work."""
    try:
        from megatron.bridge.release.compat.megatron_parser_api import add_megatron_arguments

        defaults = vars(add_megatron_arguments(argparse.ArgumentParser()).parse_args([]))
    except Exception as error:
        # Another version, or a patched one, may raise anything. The tables have the defaults too.
        logger.info("Megatron-LM's parser is not available (%s)", one_line(error))
        return {}
    # local_rank belongs to this process, and not all readers can load enums.
    return {name: value for name, value in defaults.items() if name != "local_rank" and _is_plain(value)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    return value is None or type(value) in (bool, int, float, str) or isinstance(value, torch.dtype)
