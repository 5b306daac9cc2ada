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

"""Private or unstable API of transformers, seen in transformers 5.0 to 5.12."""

from typing import Any

import transformers

# Config classes by model type.
from transformers import CONFIG_MAPPING, PretrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.quantizers.auto import AutoHfQuantizer
from transformers.utils.hub import cached_file


__all__ = [
    "CONFIG_MAPPING",
    "EAGER_EXPERTS",
    "causal_lm_classes",
    "find_cached_file",
    "ignored_weight_patterns",
    "is_builtin_config",
    "is_generic_tokenizer",
    "is_supported_quantization",
    "read_config_dict",
]

# Keyword of from_config(): compute experts one by one. Grouped GEMM needs rows that are aligned to 16 bytes.
EAGER_EXPERTS = {"experts_implementation": "eager"}


def causal_lm_classes() -> dict[str, str]:
    """Return the names of the classes of language models by model type."""
    return dict(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def find_cached_file(model: Any, name: str, **location: Any) -> str | None:
    """Return the path of a file of a model, which is downloaded if it is on the Hub."""
    path: str | None = cached_file(model, name, **location)
    return path


def ignored_weight_patterns(architecture: str) -> list[str]:
    """Return the patterns of the tensors that a model class of transformers ignores in files."""
    return list(getattr(getattr(transformers, architecture, None), "_keys_to_ignore_on_load_unexpected", None) or ())


def is_builtin_config(config: Any) -> bool:
    """Return whether a config has a class of transformers, and not one of the model's own code."""
    return type(config).__module__.startswith("transformers.models.")


def is_generic_tokenizer(tokenizer: Any) -> bool:
    """Return whether a tokenizer does exactly what its tokenizer.json declares, without a class for its model."""
    return type(tokenizer) is transformers.TokenizersBackend


def is_supported_quantization(config: Any) -> bool:
    """Return whether transformers knows the method of a quantization_config."""
    return bool(AutoHfQuantizer.supports_quant_method(config))  # type: ignore[no-untyped-call,unused-ignore]


def read_config_dict(model: Any, **location: Any) -> dict[str, Any]:
    """Return the content of a model's config.json, without the defaults of its class."""
    content, _ = PretrainedConfig.get_config_dict(model, **location)
    return dict(content)
