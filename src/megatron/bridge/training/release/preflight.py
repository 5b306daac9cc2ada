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

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.utils import HFValidationError, validate_repo_id  # type: ignore[attr-defined,unused-ignore]

from megatron.bridge.training.release.destination import nearest
from megatron.bridge.training.release.headers import read_headers, require_usual_weights


_HUB_TIMEOUT = 10  # seconds
_DEEPEST = 50

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
    if not str(hf_model_id) or "\0" in str(hf_model_id):
        raise ValueError(f"{str(hf_model_id)!r} names no model. Give a Hugging Face model ID or a model's folder.")
    model = Path(os.path.expanduser(hf_model_id))
    if os.path.exists(model) or not _may_be_on_the_hub(str(hf_model_id)):
        _check_model(model, bool(trust_remote_code))
        return str(model)
    _check_hub(str(hf_model_id), revision)
    return str(hf_model_id)


def _may_be_on_the_hub(name: str) -> bool:
    """Return whether a name can be a model ID, ``name`` or ``organization/name``; else it can only be a folder's."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def _check_hub(model_id: str, revision: str | None) -> None:
    if reason := _why_not_on_the_hub(model_id, "config.json", revision):
        raise ValueError(
            f"{model_id} is no folder here, and the Hugging Face Hub does not give it ({reason}). "
            "Give the model's folder, or a model ID that this host can reach."
        )


def _why_not_on_the_hub(repository: str, file: str, revision: str | None = None) -> str:
    """Ask for a file, once: the client's own download tries for a long time. Empty where it can be had."""
    try:
        if not isinstance(try_to_load_from_cache(repository, file, revision=revision), str):
            get_hf_file_metadata(hf_hub_url(repository, file, revision=revision), timeout=_HUB_TIMEOUT)
    except Exception as error:
        # The Hub's client, and what it is built on, raise many kinds.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return f"{type(error).__name__}: {reason}"
    return ""


def _check_model(model: Path, trust_remote_code: bool) -> None:
    if not os.path.exists(model):
        raise ValueError(f"The model {model} does not exist. Give a Hugging Face model ID or a model's folder.")
    config_file = model / "config.json"
    if not config_file.is_file():
        raise ValueError(
            f"The model {model} is not a Hugging Face model: it has no config.json. "
            "Give the folder that `save_pretrained` wrote."
        )
    values = _read_config(config_file)
    _check_architecture(model, values, trust_remote_code)
    require_usual_weights(config_file, values.get("transformers_weights"))
    read_headers(model)


def _read_config(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{file} cannot be read ({reason}). Restore it from the model.") from None
    architectures = values.get("architectures") if isinstance(values, dict) else None
    if not (isinstance(architectures, list) and architectures and all(isinstance(one, str) for one in architectures)):
        raise ValueError(f"{file} names no architecture. Restore it from the model.")
    if not isinstance(values.get("auto_map") or {}, dict):
        raise ValueError(f"{file} has an auto_map that is no table of classes. Restore it from the model.")
    if _is_deeper(values, _DEEPEST):
        raise ValueError(f"{file} has values in values, more than {_DEEPEST} deep. Restore it from the model.")
    return dict(values)


def _is_deeper(value: Any, most: int) -> bool:
    level = [value]
    for _ in range(most):
        level = [
            inner
            for one in level
            if isinstance(one, (dict, list))
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
    return bool(level)


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
            raise ValueError(
                f"The config of {model} is read by its own Python code ({code}). Look at it, and give "
                "trust_remote_code=True to have it run."
            )
        return
    repository, elsewhere, name = code.rpartition("--")
    if elsewhere and (reason := _why_not_on_the_hub(repository, f"{name.split('.')[0]}.py")):
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


def check_room(root: Path, model: Path) -> None:
    """Check that a checkpoint of a model's folder has room at the root, and is not written into the model.

    Args:
        root: Checkpoint root; it need not exist.
        model: Folder of the Hugging Face model.

    Raises:
        ValueError: If there are fewer bytes free than the model's files have, or if the root is in the model's folder.
    """
    if root.resolve().is_relative_to(model.resolve()):
        raise ValueError(f"The output path {root} is inside the model's own folder {model}. Give another folder.")
    files = {header.file for header in read_headers(model).values()}
    needed = sum((model / file).stat().st_size for file in files)
    free = shutil.disk_usage(nearest(root)).free
    if free < needed:
        raise ValueError(
            f"The output path {root} has {free / 1e9:.1f} GB free and the checkpoint needs {needed / 1e9:.1f} GB. "
            "Free some space or give a folder on another disk."
        )
