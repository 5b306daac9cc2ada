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

"""Compares a Megatron model that a caller built with the one that its Hugging Face config asks for."""

from argparse import Namespace
from typing import Any

from megatron.core.utils import get_model_config

from megatron.bridge.release.megatron_args.args import fields_without_argument, megatron_lm_args
from megatron.bridge.release.megatron_args.comparison import FIELDS_WITHOUT_ARGUMENT, differing_arguments


def config_of(model: Any) -> Any:
    """Return the config of a Megatron model.

    Args:
        model: The model, or a list of its parts.

    Raises:
        ValueError: If there is no model.
    """
    parts = model if isinstance(model, list) else [model]
    if not parts:
        raise ValueError("There is no model to save: the list is empty.")
    return get_model_config(parts[0])


def args_of(provider: Any) -> Namespace:
    """Make the args of a model provider that `differing_arguments` compares, with what no argument gives."""
    args = megatron_lm_args(provider)
    setattr(args, FIELDS_WITHOUT_ARGUMENT, fields_without_argument(provider))
    return args


def imported_args(bridge: Any) -> Namespace:
    """Make the args of an import of a bridge's model, as `args_of` does."""
    provider = bridge.to_megatron_provider(load_weights=False)
    provider.finalize()
    return args_of(provider)


def check_provider_matches(bridge: Any, given: Any) -> None:
    """Require that a model computes what the Hugging Face config says, whoever built it.

    Its weights are the caller's: loaded, and perhaps trained on.

    Args:
        bridge: The `AutoBridge` of the Hugging Face model.
        given: The config of the Megatron model.

    Raises:
        ValueError: If the model's config says something else than the Hugging Face model's. One line, which names the
            arguments that differ, in Megatron-LM's words.
    """
    differences = differing_arguments(args_of(given), imported_args(bridge))
    if differences:
        differing = (
            f"{name} is set" if name in fields_without_argument(given) else f"{name} is {value!r}, not {other!r}"
            for name, (value, other) in differences.items()
        )
        own = bridge.to_megatron_provider(load_weights=False)
        raise ValueError(
            f"The model is not {getattr(own, 'hf_model_id', 'the one of the config')}: {'; '.join(differing)}. A model of your own "
            "is saved with megatron.bridge.training.model_load_save.save_megatron_model(model, path, release=True)."
        )
