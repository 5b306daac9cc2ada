# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Private or unstable API of upstream's Megatron-Bridge, seen in 0.6.0 to 0.6.2 and on main of August 2026.

Importing this module does not import Megatron-Bridge, so that any of its modules can import this one.
"""

from typing import Any


def architecture_bridge(bridge: Any) -> Any:
    """Return the bridge of a model's architecture; the property creates a new one, which has the config only."""
    return bridge._model_bridge


def check_is_supported(auto_bridge: Any, config: Any) -> None:
    """Raise ValueError if Bridge does not support the architecture of a config."""
    auto_bridge._validate_config(config)


def shares_embeddings(model_bridge: Any, provider: Any) -> bool:
    """Return whether Bridge loads the embedding into the output layer."""
    return bool(model_bridge._share_embeddings_and_output_weights(provider))


def is_adapter_parameter(model_bridge: Any, name: str) -> bool:
    """Return whether a parameter of Megatron's model belongs to a PEFT adapter."""
    return bool(model_bridge._is_adapter_param_name(name))


def finds_tensors_itself(mapping: Any) -> bool:
    """Return whether a mapping looks for its tensors when they are read, so that their names are not known before."""
    return bool(mapping.allow_hf_name_mismatch)


def is_expert_of_group(mapping: Any) -> bool:
    """Return whether a mapping takes one expert of a tensor that contains all experts."""
    return bool(getattr(mapping, "is_grouped_export", False))


def load_keywords(hf_pretrained: Any) -> dict[str, Any]:
    """Return the keywords with which a model is read, such as ``revision`` and ``cache_dir``."""
    return getattr(hf_pretrained, "init_kwargs", None) or {}
