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

"""Finds, before a conversion starts, what would stop it half-way."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from megatron.bridge.training.release.model_folder import check_room, look_at_model, why_not_on_the_hub
from megatron.bridge.training.release.option_errors import OptionError


# What says how a model is read. Others, such as the fields of a config, would say that it is another one.
_KEYWORDS = frozenset(
    {
        "attn_implementation",
        "cache_dir",
        "code_revision",
        "device_map",
        "dtype",
        "force_download",
        "local_files_only",
        "low_cpu_mem_usage",
        "proxies",
        "revision",
        "token",
        "torch_dtype",
        "trust_remote_code",
    }
)


class NeedsOwnCode(OptionError):
    """The config of a model is read by the model's own Python code, which the user has not let run."""


def check_import(
    hf_model_id: str | Path, megatron_path: str | Path, keywords: Mapping[str, Any] = MappingProxyType({})
) -> str:
    """Check what a user can get wrong of an import's model, before any weight is read and anything is written.

    Args:
        hf_model_id: Hugging Face model ID, or folder of a model.
        megatron_path: Checkpoint root to write.
        keywords: Other keywords of the import, which say how the model is read.

    Returns:
        ``hf_model_id``, a folder's without ``~``.

    Raises:
        ValueError: If a keyword would change the model; if ``hf_model_id`` is a folder that is missing or holds no
            importable model, or no model of the Hub that can be had; or if ``megatron_path`` has no room for it. One
            line, which says what to do.
    """
    if unknown := sorted(keywords.keys() - _KEYWORDS):
        raise ValueError(
            f"release=True takes no {', '.join(unknown)}: a release is the model as its own files say. Leave it out, or write "
            "the model with it first (save_pretrained)."
        )
    model = check_model(hf_model_id, keywords.get("revision"), keywords.get("trust_remote_code"))
    if Path(model).is_dir():
        check_room(Path(megatron_path), Path(model))
    return model


def check_model(hf_model_id: str | Path, revision: str | None = None, trust_remote_code: bool | None = None) -> str:
    """Check that a Hugging Face model is there, and is one that can be imported.

    A local folder is looked into; of a model ID of the Hugging Face Hub, the config is asked for, once.

    Args:
        hf_model_id: Hugging Face model ID, or folder of a model.
        revision: Revision of the model on the Hub.
        trust_remote_code: Whether the model's own code may run.

    Returns:
        ``hf_model_id``, a folder's without ``~``.

    Raises:
        ValueError: If it is a folder that is missing or holds no importable model, or no model of the Hub that can be
            had. One line, which says what to do.
    """
    model, config = look_at_model(hf_model_id, revision)
    if config is not None:
        _check_architecture(Path(model), config, bool(trust_remote_code))
    return model


def _check_architecture(model: Path, values: Mapping[str, Any], trust_remote_code: bool) -> None:
    """Check that Megatron-Bridge knows the architecture, by what it and transformers will make of the config."""
    # auto_bridge imports this module, and transformers is slow to import.
    from transformers import CONFIG_MAPPING, AutoConfig

    from megatron.bridge.models.conversion.auto_bridge import (  # type: ignore[attr-defined,unused-ignore]
        AutoBridge,
        PretrainedConfig,
    )

    architectures, own_code = ", ".join(values["architectures"]), values.get("auto_map") or {}
    unsupported = (
        f"The architecture {architectures} of {model} is not supported. These are: python -c 'from megatron.bridge import "
        "AutoBridge; print(AutoBridge.list_supported_models())'"
    )
    # As its code names it, where that is run.
    named = _has_bridge(AutoBridge, PretrainedConfig(architectures=values["architectures"], auto_map=own_code))  # type: ignore[call-arg,unused-ignore]
    native = str(values.get("model_type")) in CONFIG_MAPPING
    if not named and not (own_code and native):
        raise ValueError(unsupported)
    if not named and trust_remote_code:
        raise ValueError(
            f"The Python code of {model} itself ({', '.join(map(str, own_code.values()))}) is none that Megatron-Bridge "
            f"knows. Leave trust_remote_code out to import the model as transformers' own {architectures}."
        )
    if "AutoConfig" in own_code:
        _check_config_code(model, str(own_code["AutoConfig"]), native, trust_remote_code)
    try:
        # Bridge tries four times, and then thinks of the network.
        config = AutoConfig.from_pretrained(model, trust_remote_code=trust_remote_code)
    except Exception as error:
        # transformers and what it validates with raise many kinds.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"{model / 'config.json'} is no config that transformers takes ({reason}). Mend the field."
        ) from error
    if not _has_bridge(AutoBridge, config):
        raise ValueError(unsupported)


def _check_config_code(model: Path, code: str, native: bool, trust_remote_code: bool) -> None:
    """Check that the Python code that reads a config may run where it is needed, and can be had."""
    if not trust_remote_code:
        if not native:
            raise NeedsOwnCode(
                f"The config of {model} requires its own Python code ({code}).",
                "trust_remote_code",
                "Review the code, then pass {option} to run it.",
            )
        return
    repository, elsewhere, name = code.rpartition("--")
    if elsewhere and (reason := why_not_on_the_hub(repository, f"{name.split('.')[0]}.py")):
        raise ValueError(
            f"The config of {model} is read by Python code of {repository}, which the Hugging Face Hub does not give "
            f"({reason}). Put it beside config.json, and take '{repository}--' out of the auto_map."
        )


def _has_bridge(auto_bridge: Any, config: Any) -> bool:
    try:
        auto_bridge._validate_config(config)
    except ValueError:
        return False
    return True
