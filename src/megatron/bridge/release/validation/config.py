# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Checks every field of a Hugging Face config: supported, unsupported or unknown."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from transformers import PretrainedConfig

from megatron.bridge.models.conversion.model_bridge import MegatronModelBridge
from megatron.bridge.release.compat.transformers_api import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from megatron.bridge.release.source.safetensors_index import require_usual_weights
from megatron.bridge.release.validation.config_rules import FAMILIES, IGNORED_FIELDS
from megatron.bridge.release.validation.errors import UnknownConfigFieldError
from megatron.bridge.release.validation.families import unsupported_family
from megatron.bridge.release.validation.field_rules import FieldRule
from megatron.bridge.release.validation.model_errors import HeadSizeError, NestedConfigError, PadTokenError


_ROPE = "rope_parameters"
_READ_BY_BRIDGE = {name for name, _ in MegatronModelBridge.CONFIG_MAPPING}


@dataclass
class ConfigReport:
    """Result of the check of a config.

    Attributes:
        refused: Fields that a release does not support, with their values, a sentence or two each.
        waived: Those of them that the user allowed.
        unknown: Fields without a rule, with their values, unless these are the defaults of their class.
        is_tested: Whether there are rules for the family of the model.
    """

    refused: list[str] = field(default_factory=list)
    waived: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    is_tested: bool = True


def check_config(config: Any, allow: Sequence[str] = ()) -> ConfigReport:
    """Check the fields of a config of transformers.

    Args:
        config: The config.
        allow: Names of fields to ignore.

    Raises:
        UnknownConfigFieldError: If ``allow`` names a field that the config does not have.
        ReleaseError: If transformers cannot build a model from the config.
    """
    _check_valid(config)
    values = dict(_fields(config))
    if absent := [name for name in allow if name not in values and name != _ROPE]:
        raise UnknownConfigFieldError(tuple(absent), tuple(sorted(values)))
    table = FAMILIES.get(config.model_type)
    report, rules = ConfigReport(is_tested=table is not None), {rule.name: rule for rule in table or ()}
    _refuse_contradictions(config, report)
    if reason := unsupported_family(config.model_type):
        if report.refused:
            # The model type is wrong.
            return report
        text = f"model_type={config.model_type!r} is not supported: {reason}. Train it with Megatron-Bridge."
        (report.waived if "model_type" in allow else report.refused).append(text)
        return report
    defaults = dict(_fields(type(config)()))
    for name, value in values.items():
        rule = rules.get(name)
        if rule is not None:
            if not _is_supported(rule, value, config):
                text = f"{name}={value!r} is not supported (supported: {rule.values}). {_hint(rule, value, config)}"
                allowed = name in allow or (name.startswith(f"{_ROPE}.") and _ROPE in allow)
                (report.waived if allowed else report.refused).append(text)
        elif name not in defaults and name in _READ_BY_BRIDGE and value:
            report.refused.append(f"{name}={value!r} is applied by Megatron-Bridge, but not by transformers.")
        elif not is_computed(name):
            continue
        elif name not in defaults or value != defaults[name]:
            report.unknown.append(f"{name} ({value!r})")
    return report


def is_computed(name: str) -> bool:
    """Return whether a field may affect what a model computes. Private fields are written by transformers."""
    return name not in IGNORED_FIELDS and not name.startswith("_")


def _check_valid(config: Any) -> None:
    """Refuse configs from which transformers cannot build a model, or would build another one."""
    name, text = config.name_or_path, config.get_text_config()
    if not isinstance(text, PretrainedConfig):
        raise NestedConfigError(name, config.model_type)
    # The preflight checks config.json; this checks a model that the caller has loaded.
    require_usual_weights(f"The config of {name}", getattr(config, "transformers_weights", None))
    if config.model_type not in FAMILIES:
        return
    # Multi-latent attention rotates a part of each head.
    head = getattr(config, "qk_rope_head_dim", None) or getattr(config, "head_dim", None)
    head = head or config.hidden_size // config.num_attention_heads
    if head % 2:
        raise HeadSizeError(name, head)
    token, rows = config.pad_token_id, config.vocab_size
    if token is not None and not -rows <= token < rows:
        raise PadTokenError(name, token, rows)


def _hint(rule: FieldRule, value: Any, config: Any) -> str:
    """Return what to do about an unsupported value."""
    rope = getattr(config, _ROPE, None) or {}
    original = rope.get("original_max_position_embeddings")
    if rule.name == "hidden_act" and value == "swish" and rule.supports("silu", config):
        return '"swish" is an alias of "silu". Set it to "silu".'
    if rule.name == f"{_ROPE}.factor" and value is None and original:
        return f"transformers defaults to {config.max_position_embeddings / original}. Set this value."
    return rule.hint


def _refuse_contradictions(config: Any, report: ConfigReport) -> None:
    """Refuse a value that transformers and Megatron-Bridge read from two fields that differ."""
    rope = getattr(config, _ROPE, None) or {}
    if "type" in rope and rope["type"] != rope.get("rope_type", rope["type"]):
        report.refused.append(
            f"{_ROPE} has type={rope['type']!r} and rope_type={rope['rope_type']!r}. Remove one of them."
        )
    expected = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(config.model_type)
    found = (config.architectures or [None])[0]
    # It is an architecture of another family, or none of transformers.
    if expected not in (None, found) and (report.is_tested or found in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()):
        report.refused.append(
            f"The architecture of model_type {config.model_type!r} is {expected}, not {found}. Correct architectures or model_type."
        )


def _is_supported(rule: FieldRule, value: Any, config: Any) -> bool:
    try:
        return rule.supports(value, config)
    except (TypeError, ValueError, ArithmeticError, AttributeError):
        # The value has an unexpected type.
        return False


def _fields(config: Any) -> Iterator[tuple[str, Any]]:
    for name, value in config.to_dict().items():
        if name == _ROPE and isinstance(value, dict):
            # Older configs have "type" for rope_type, which transformers adds.
            yield from ((f"{_ROPE}.{part}", each) for part, each in value.items() if part != "type")
        else:
            yield name, value
