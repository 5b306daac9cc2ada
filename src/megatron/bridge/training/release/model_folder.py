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

"""Finds, before anything is imported that takes seconds, why a Hugging Face model cannot be converted.

`megatron.bridge_release` has a link to this file: it imports neither torch nor megatron.
"""

import glob
import json
import os
import shutil
from pathlib import Path
from typing import Any

from .destination import nearest
from .headers import read_headers, require_usual_weights


_HUB_TIMEOUT = 10  # seconds
_DEEPEST = 50


def look_at_model(hf_model_id: str | Path, revision: str | None = None) -> tuple[str, dict[str, Any] | None]:
    """Look whether a Hugging Face model is there, and complete.

    Of a local folder, the config and the headers of its weights are read; of a model ID of the Hugging Face Hub, the
    config is asked for, once.

    Args:
        hf_model_id: Hugging Face model ID, or folder of a model.
        revision: Revision of the model on the Hub.

    Returns:
        ``hf_model_id``, a folder's without ``~``; and the config of a folder, None for a model ID.

    Raises:
        ValueError: If it is a folder that is missing or holds no whole model, or no model of the Hub that can be had.
            One line, which says what to do.
    """
    if not str(hf_model_id) or "\0" in str(hf_model_id):
        raise ValueError(f"{str(hf_model_id)!r} names no model. Give a Hugging Face model ID or a model's folder.")
    model = Path(os.path.expanduser(hf_model_id))
    if os.path.exists(model) or not _may_be_on_the_hub(str(hf_model_id)):
        return str(model), _look_at_folder(model)
    _check_hub(str(hf_model_id), revision)
    return str(hf_model_id), None


def _may_be_on_the_hub(name: str) -> bool:
    """Return whether a name can be a model ID, ``name`` or ``organization/name``; else it can only be a folder's."""
    from huggingface_hub.utils import HFValidationError, validate_repo_id  # type: ignore[attr-defined,unused-ignore]

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def _check_hub(model_id: str, revision: str | None) -> None:
    if reason := why_not_on_the_hub(model_id, "config.json", revision):
        raise ValueError(
            f"{model_id} is no folder here, and the Hugging Face Hub does not give it ({reason}). "
            "Give the model's folder, or a model ID that this host can reach."
        )


def why_not_on_the_hub(repository: str, file: str, revision: str | None = None) -> str:
    """Ask the Hugging Face Hub for a file, once: the client's own download tries for a long time.

    Args:
        repository: Model ID.
        file: Path in the repository.
        revision: Revision of the repository.

    Returns:
        Why it cannot be had; empty where it can, or has been downloaded before.
    """
    # It takes longer to import than all else here, and a folder needs none of it.
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache

    try:
        if not isinstance(try_to_load_from_cache(repository, file, revision=revision), str):
            get_hf_file_metadata(hf_hub_url(repository, file, revision=revision), timeout=_HUB_TIMEOUT)
    except Exception as error:
        # The Hub's client, and what it is built on, raise many kinds.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return f"{type(error).__name__}: {reason}"
    return ""


def _look_at_folder(model: Path) -> dict[str, Any]:
    if not os.path.exists(model):
        raise ValueError(f"The model {model} does not exist. Give a Hugging Face model ID or a model's folder.")
    config_file = model / "config.json"
    if not config_file.is_file():
        raise ValueError(
            f"The model {model} is not a Hugging Face model: it has no config.json. "
            "Give the folder that `save_pretrained` wrote."
        )
    if glob.escape(str(model)) != str(model):
        raise ValueError(
            f"The name of the model's folder, {model}, has one of *, ? and [ in it, which Megatron-Bridge takes for a pattern. "
            "Rename it, or give a link to it."
        )
    values = _read_config(config_file)
    require_usual_weights(config_file, values.get("transformers_weights"))
    read_headers(model)
    return values


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


def check_outside(path: Path, model: Path) -> None:
    """Check that nothing is written into a model.

    Args:
        path: Where something is to be written; it need not exist.
        model: Folder of the Hugging Face model.

    Raises:
        ValueError: If the path is in the model's folder, or is that.
    """
    if path.resolve().is_relative_to(model.resolve()):
        raise ValueError(f"The output path {path} is inside the model's own folder {model}. Give another folder.")


def check_room(root: Path, model: Path) -> None:
    """Check that a checkpoint of a model's folder has room at the root, and is not written into the model.

    Args:
        root: Checkpoint root; it need not exist.
        model: Folder of the Hugging Face model.

    Raises:
        ValueError: If there are fewer bytes free than the model's files have, or if the root is in the model's folder.
    """
    check_outside(root, model)
    files = {header.file for header in read_headers(model).values()}
    needed = sum((model / file).stat().st_size for file in files)
    free = shutil.disk_usage(nearest(root)).free
    if free < needed:
        raise ValueError(
            f"The output path {root} has {free / 1e9:.1f} GB free and the checkpoint needs {needed / 1e9:.1f} GB. "
            "Free some space or give a folder on another disk."
        )
