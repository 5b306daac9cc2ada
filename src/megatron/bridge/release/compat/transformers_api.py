# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Private or unstable API of transformers, seen in transformers 5.0 to 5.12."""

from typing import Any

import transformers

# CONFIG_MAPPING: config classes by model type. TokenizersBackend: class of tokenizers that do exactly what their
# tokenizer.json declares.
from transformers import CONFIG_MAPPING, PretrainedConfig, TokenizersBackend

# Names of the classes of language models, by model type.
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

# supports_quant_method() returns whether a quantization_config has a known method.
from transformers.quantizers.auto import AutoHfQuantizer

# Finds a file of a model, in a directory or in the cache.
from transformers.utils.hub import cached_file


__all__ = [
    "CONFIG_MAPPING",
    "EAGER_EXPERTS",
    "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
    "AutoHfQuantizer",
    "TokenizersBackend",
    "cached_file",
    "ignored_weight_patterns",
    "is_builtin_config",
    "read_config_dict",
]

# Keyword of from_config(): compute experts one by one. Grouped GEMM needs rows that are aligned to 16 bytes.
EAGER_EXPERTS = {"experts_implementation": "eager"}


def ignored_weight_patterns(architecture: str) -> list[str]:
    """Return the patterns of the tensors that a model class of transformers ignores in files."""
    return list(getattr(getattr(transformers, architecture, None), "_keys_to_ignore_on_load_unexpected", None) or ())


def is_builtin_config(config: Any) -> bool:
    """Return whether a config has a class of transformers, and not one of the model's own code."""
    return type(config).__module__.startswith("transformers.models.")


def read_config_dict(model: Any, **location: Any) -> dict[str, Any]:
    """Return the content of a model's config.json, without the defaults of its class."""
    content, _ = PretrainedConfig.get_config_dict(model, **location)
    return dict(content)
