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
from pathlib import Path

from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.utils import HFValidationError, validate_repo_id

from megatron.bridge.training.release.headers import read_headers


_HUB_TIMEOUT = 10  # seconds


def check_import(
    hf_model_id: str | Path, megatron_path: str | Path, overwrite: bool = False, revision: str | None = None
) -> str:
    """Check what a user can get wrong in an import, before any weight is read and anything is written.

    Args:
        hf_model_id: Hugging Face model ID, or folder of a model.
        megatron_path: Checkpoint root to write.
        overwrite: Whether to replace a release that is there.
        revision: Revision of the model on the Hub.

    Returns:
        ``hf_model_id``, a folder's without ``~``.

    Raises:
        ValueError: If ``hf_model_id`` is a folder that is missing or holds no importable model, or no model of the
            Hub that can be had, or if ``megatron_path`` cannot hold the checkpoint or holds one that must stay. One
            line, which says what to do.
    """
    model = check_model(hf_model_id, revision)
    check_root(megatron_path)
    # It imports torch, which a look at a path can do without.
    from megatron.bridge.training.utils.publishing import check_overwrite, was_interrupted

    if not was_interrupted(Path(megatron_path)):
        check_overwrite(megatron_path, overwrite)
    if Path(model).is_dir():
        _check_place(Path(model), Path(megatron_path))
    return model


def check_model(hf_model_id: str | Path, revision: str | None = None) -> str:
    """Check that a Hugging Face model is there, and is one that can be imported.

    A local folder is looked into; of a model ID of the Hugging Face Hub, the config is asked for, once.

    Args:
        hf_model_id: Hugging Face model ID, or folder of a model.
        revision: Revision of the model on the Hub.

    Returns:
        ``hf_model_id``, a folder's without ``~``.

    Raises:
        ValueError: If it is a folder that is missing or holds no importable model, or no model of the Hub that can be
            had. One line, which says what to do.
    """
    model = Path(hf_model_id).expanduser()
    if model.exists() or not _may_be_on_the_hub(str(hf_model_id)):
        _check_model(model)
        return str(model)
    _check_hub(str(hf_model_id), revision)
    return str(hf_model_id)


def check_root(megatron_path: str | Path) -> None:
    """Check that a checkpoint root can be written.

    Args:
        megatron_path: Checkpoint root; it need not exist.

    Raises:
        ValueError: If it, or the folder it would be made in, is a file or cannot be written.
    """
    root = Path(megatron_path)
    if root.is_symlink() and not root.exists():
        raise ValueError(f"The output path {root} is a dangling link. Remove it or make the folder it points to.")
    existing = next(path for path in (root, *root.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise ValueError(f"The output path {root} cannot be made: {existing} is a file. Give a folder.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ValueError(f"The output path {root} cannot be written: no permission in {existing}.")


def _may_be_on_the_hub(name: str) -> bool:
    """Tell whether a name can be a model ID, ``name`` or ``organization/name``; else it can only be a folder's."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def _check_hub(model_id: str, revision: str | None) -> None:
    if isinstance(try_to_load_from_cache(model_id, "config.json", revision=revision), str):
        return
    try:
        # One attempt: the client's own download tries for a long time.
        get_hf_file_metadata(hf_hub_url(model_id, "config.json", revision=revision), timeout=_HUB_TIMEOUT)
    except Exception as error:
        # The Hub's client, and what it is built on, raise many kinds.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{model_id} is no folder here, and the Hugging Face Hub does not give it ({type(error).__name__}: {reason}). "
            "Give the model's folder, or a model ID that this host can reach."
        ) from error


def _check_model(model: Path) -> None:
    if not model.exists():
        raise ValueError(f"The model {model} does not exist. Give a Hugging Face model ID or a model's folder.")
    config_file = model / "config.json"
    if not config_file.is_file():
        raise ValueError(
            f"The model {model} is not a Hugging Face model: it has no config.json. "
            "Give the folder that `save_pretrained` wrote."
        )
    # auto_bridge imports this module, and transformers is slow to import.
    from transformers import AutoConfig

    from megatron.bridge.models.conversion.auto_bridge import AutoBridge, PretrainedConfig

    try:
        config = json.loads(config_file.read_text())
        architectures = ", ".join(config["architectures"])
        # What decides is named in these two; the rest is transformers' to read.
        known = PretrainedConfig(architectures=config["architectures"], auto_map=config.get("auto_map"))
    except Exception as error:
        # What transformers validates with has errors of its own.
        reason = " ".join(repr(error).split())
        raise ValueError(f"{config_file} names no architecture ({reason}). Restore it from the model.") from error
    try:
        AutoBridge._validate_config(known, str(model))
    except ValueError:
        raise ValueError(
            f"The architecture {architectures} of {model} is not supported. "
            "AutoBridge.list_supported_models() lists those that are."
        ) from None
    if not known.auto_map:
        # Bridge tries four times, and then thinks of the network.
        try:
            AutoConfig.from_pretrained(model)
        except Exception as error:
            # transformers and what it validates with raise many kinds.
            reason = " ".join(str(error).split())
            raise ValueError(
                f"{config_file} is no config that transformers takes ({reason}). Mend the field."
            ) from error
    read_headers(model)


def _check_place(model: Path, root: Path) -> None:
    if root.resolve().is_relative_to(model.resolve()):
        raise ValueError(f"The output path {root} is inside the model's own folder {model}. Give another folder.")
    files = {header.file for header in read_headers(model).values()}
    needed = sum((model / file).stat().st_size for file in files)
    existing = next(path for path in (root, *root.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise ValueError(
            f"The output path {root} has {free / 1e9:.1f} GB free and the checkpoint needs {needed / 1e9:.1f} GB. "
            "Free some space or give a folder on another disk."
        )
