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

"""Accounts for every field of a Hugging Face config: what a release carries, what it cannot, what nobody knows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from transformers import PretrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from megatron.bridge.models.conversion.model_bridge import MegatronModelBridge
from megatron.bridge.release.errors import OptionError
from megatron.bridge.release.source.safetensors_index import require_usual_weights
from megatron.bridge.release.validation.config_rules import FAMILIES, IGNORED_FIELDS, Field


_ROPE = "rope_parameters"
_READ_BY_BRIDGE = {name for name, _ in MegatronModelBridge.CONFIG_MAPPING}


@dataclass
class ConfigReport:
    """What became of a config's fields.

    Attributes:
        refused: What is not carried, a sentence or two each; a release can be made where there is none.
        waived: The same of fields that the caller lets through.
        unknown: ConfigReport that the table does not know, with their values, where these are not their class's defaults.
        is_tested: Whether the model's family is one of the table's.
    """

    refused: list[str] = field(default_factory=list)
    waived: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    is_tested: bool = True


def check_config(config: Any, allow: Sequence[str] = ()) -> ConfigReport:
    """Account for the fields of a config.

    Args:
        config: The model's config, of transformers.
        allow: Names of fields whose values may be lost.

    Returns:
        The account.

    Raises:
        ValueError: If ``allow`` names a field that the config has not, or if transformers builds no model of the config.
    """
    _require_valid_config(config)
    there = dict(_fields(config))
    if absent := [name for name in allow if name not in there and name != _ROPE]:
        raise OptionError(
            f"The config has no field {', '.join(absent)}. It has {', '.join(sorted(there))}.",
            "allow_config_fields",
            "Remove the unknown names from {option}.",
        )
    table = FAMILIES.get(config.model_type)
    report, known = ConfigReport(is_tested=table is not None), {one.name: one for one in table or ()}
    _refuse_contradictions(config, report)
    if table is None:
        return report
    defaults = dict(_fields(type(config)()))
    for name, value in there.items():
        rule = known.get(name)
        if rule is not None:
            if not _carries(rule, value, config):
                text = f"{name} is {value!r}, and a release carries {rule.values}. {_instead(rule, value, config)}"
                allowed = name in allow or (name.startswith(f"{_ROPE}.") and _ROPE in allow)
                (report.waived if allowed else report.refused).append(text)
        elif name not in defaults and name in _READ_BY_BRIDGE and value:
            report.refused.append(f"{name} is {value!r}, which Megatron-Bridge reads, and transformers does not.")
        elif not is_computed(name):
            continue
        elif name not in defaults or value != defaults[name]:
            report.unknown.append(f"{name} ({value!r})")
    return report


def is_computed(name: str) -> bool:
    """Return whether a model may compute with a field: no private one, which only transformers itself writes."""
    return name not in IGNORED_FIELDS and not name.startswith("_")


def _require_valid_config(config: Any) -> None:
    name, text = config.name_or_path, config.get_text_config()
    if not isinstance(text, PretrainedConfig):
        raise ValueError(
            f"The config of {name} has a text_config, or a part like it, and {config.model_type} has none: transformers "
            "takes it for the model's. Take it out of config.json."
        )
    # A local folder's preflight has said so; a model of the Hub's, or one that a caller loaded, comes here.
    require_usual_weights(f"The config of {name}", getattr(config, "transformers_weights", None))
    if config.model_type not in FAMILIES:
        return
    # Of latent attention, a part of each head is rotated.
    head = getattr(config, "qk_rope_head_dim", None) or getattr(config, "head_dim", None)
    head = head or config.hidden_size // config.num_attention_heads
    if head % 2:
        raise ValueError(
            f"The config of {name} implies heads of {head} values, but rotary embeddings require an even number. "
            "head_dim, hidden_size or num_attention_heads may belong to a different model."
        )
    token, rows = config.pad_token_id, config.vocab_size
    if token is not None and not -rows <= token < rows:
        raise ValueError(
            f"The config of {name} has the pad_token_id {token}, and the embedding has {rows} rows: transformers builds no "
            "model of it. Let it be null, or the tokenizer's."
        )


def _instead(rule: Field, value: Any, config: Any) -> str:
    """Return what carries another value, or how to write this one."""
    rope = getattr(config, _ROPE, None) or {}
    original = rope.get("original_max_position_embeddings")
    if rule.name == "hidden_act" and value == "swish" and rule.carries("silu", config):
        return "They are one: write silu."
    if rule.name == f"{_ROPE}.factor" and value is None and original:
        return f"For none, transformers takes {config.max_position_embeddings / original}: write that number."
    return rule.instead


def _refuse_contradictions(config: Any, report: ConfigReport) -> None:
    """Refuse what transformers and Megatron-Bridge read at different places, where these differ."""
    rope = getattr(config, _ROPE, None) or {}
    if "type" in rope and rope["type"] != rope.get("rope_type", rope["type"]):
        report.refused.append(
            f"{_ROPE} has type {rope['type']!r} and rope_type {rope['rope_type']!r}. Remove one of them."
        )
    expected = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(config.model_type)
    found = (config.architectures or [None])[0]
    # Another family's, or none at all where the family is one of the table's.
    if expected not in (None, found) and (report.is_tested or found in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()):
        report.refused.append(
            f"transformers reads the model_type {config.model_type!r} from it, whose architecture is {expected}, not {found}."
        )


def _carries(rule: Field, value: Any, config: Any) -> bool:
    try:
        return rule.carries(value, config)
    except (TypeError, ValueError, ArithmeticError, AttributeError):
        # A value of a kind that the field is not for.
        return False


def _fields(config: Any) -> Iterator[tuple[str, Any]]:
    for name, value in config.to_dict().items():
        if name == _ROPE and isinstance(value, dict):
            # "type" is what older configs call rope_type, which transformers adds.
            yield from ((f"{_ROPE}.{part}", one) for part, one in value.items() if part != "type")
        else:
            yield name, value
