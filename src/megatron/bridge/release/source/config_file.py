# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Reads a model's config.json, and compares configs.

Importing this module imports neither torch nor Megatron Core.
"""

import copy
import json
from pathlib import Path
from typing import Any

from megatron.bridge.release.source.errors import InvalidConfigError


# Fields that affect neither the converted weights nor the logits.
HARMLESS_FIELDS = frozenset(
    {
        *(
            "_attn_implementation",
            "_attn_implementation_autoset",
            "_commit_hash",
            "_name_or_path",
            "attn_implementation",
        ),
        *("bos_token_id", "chunk_size_feed_forward", "decoder_start_token_id", "eos_token_id", "id2label"),
        *("eod_token_id", "sep_token_id", "use_grouped_mm"),
        *("initializer_range", "is_encoder_decoder", "label2id", "output_attentions", "output_hidden_states"),
        *("output_router_logits", "pad_token_id", "pretraining_tp", "problem_type", "return_dict"),
        *("router_aux_loss_coef", "transformers_version", "unk_token_id", "use_cache"),
    }
)
_MAX_DEPTH = 50


def read_config(file: Path) -> dict[str, Any]:
    """Read a config.json.

    Raises:
        InvalidConfigError: If it cannot be read, or is not a JSON object.
    """
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidConfigError(file, " ".join(str(error).split())) from error
    if not isinstance(values, dict):
        raise InvalidConfigError(file, "it is not a JSON object")
    return values


def read_model_config(file: Path) -> dict[str, Any]:
    """Read the config.json of a model that can be converted.

    Raises:
        InvalidConfigError: If it cannot be read, or lacks what transformers needs to load the model.
    """
    values = read_config(file)
    architectures = values.get("architectures")
    if not (
        isinstance(architectures, list) and architectures and all(isinstance(name, str) for name in architectures)
    ):
        raise InvalidConfigError(file, "it declares no architectures")
    if not isinstance(values.get("auto_map") or {}, dict):
        raise InvalidConfigError(file, "auto_map is not a JSON object")
    if _nesting_exceeds(values, _MAX_DEPTH):
        raise InvalidConfigError(file, f"it is nested deeper than {_MAX_DEPTH} levels")
    return values


def _nesting_exceeds(value: Any, depth: int) -> bool:
    level = [value]
    for _ in range(depth):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return bool(level)


def differing_fields(config: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return the names of the fields that differ between two configs and may change the conversion, sorted."""
    if config == other:
        return []
    config, other = _normalize(config), _normalize(other)
    return sorted(name for name in config.keys() | other.keys() if config.get(name) != other.get(name))


def _normalize(config: dict[str, Any]) -> dict[str, Any]:
    """Return a config with its defaults, in the form of the installed transformers, without harmless fields."""
    # Imported here because it takes seconds.
    from megatron.bridge.release.compat.transformers_api import CONFIG_MAPPING

    values = copy.deepcopy(config)
    if config.get("model_type") in CONFIG_MAPPING and not config.get("auto_map"):
        try:
            values = CONFIG_MAPPING[config["model_type"]].from_dict(values).to_dict()
        except Exception:
            # transformers raises many types for a config that it cannot load. Compare its fields as they are.
            values = copy.deepcopy(config)
    return _without_harmless(values)


def _without_harmless(values: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in values.items() if name not in HARMLESS_FIELDS}
    if "torch_dtype" in kept:
        # The name of dtype before transformers 4.56.
        kept.setdefault("dtype", kept.pop("torch_dtype"))
    for name, value in kept.items():
        if name.endswith("_config") and isinstance(value, dict):
            kept[name] = _without_harmless(value)
    if isinstance(rope := kept.get("rope_parameters"), dict):
        # The name of rope_type before transformers 4.43.
        kept["rope_parameters"] = {
            name: value for name, value in rope.items() if name != "type" or "rope_type" not in rope
        }
    return kept
