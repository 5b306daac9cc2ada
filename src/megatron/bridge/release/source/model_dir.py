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

Importing this module imports neither torch nor Megatron Core.
"""

import glob
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tqdm import tqdm

from megatron.bridge.release.checkpoint_dir import nearest
from megatron.bridge.release.source.hub import download_model
from megatron.bridge.release.source.safetensors_index import (
    TensorInfo,
    read_index,
    refuse_adapter,
    require_usual_weights,
)
from megatron.bridge.release.source.provenance import SourceModel, is_path


_DEEPEST = 50


def inspect_model(
    hf_model_id: str | Path, keywords: Mapping[str, Any] = MappingProxyType({})
) -> tuple[SourceModel, dict[str, Any], dict[str, TensorInfo]]:
    """Find a Hugging Face model, and check that it is complete: its config, and the headers of its weights.

    A model ID of the Hugging Face Hub is downloaded, at one revision, unless it is in the cache.

    Args:
        hf_model_id: Hugging Face model ID, or local directory of a model. ``~`` is expanded.
        keywords: Keywords of `from_pretrained`; those of `HUB_KEYWORDS` are used.

    Returns:
        The model, its config, and the headers of its weights.

    Raises:
        ValueError: If it is a directory that does not exist or does not contain a complete model, or if a revision of a
            directory is requested. One line, which says what to do.
        HubError: If it cannot be downloaded.
    """
    if not str(hf_model_id) or "\0" in str(hf_model_id):
        raise ValueError(f"{str(hf_model_id)!r} names no model. Give a Hugging Face model ID or a model's folder.")
    folder = Path(os.path.expanduser(hf_model_id))
    if os.path.exists(folder) or _is_local(str(hf_model_id), keywords.get("cache_dir")):
        if (revision := keywords.get("revision")) is not None:
            raise ValueError(
                f"{folder} is a local directory, which has no revision {revision}. Leave the revision out, or give a model "
                "ID of the Hugging Face Hub."
            )
        model = SourceModel(str(folder), folder)
    else:
        model = download_model(str(hf_model_id), keywords)
    return model, *_look_at_folder(model.folder)


def _is_local(name: str, cache_dir: str | Path | None) -> bool:
    """Return whether a name is a path, and no model ID.

    Args:
        name: The name. There is no such directory.
        cache_dir: Cache of `huggingface_hub`; None for the default one.
    """
    if is_path(name):
        return True
    # Slow to import, and a path does not need it.
    from huggingface_hub.constants import HF_HUB_CACHE
    from megatron.bridge.release.compat.hub_api import HFValidationError, validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return True
    # An output directory may have the name of the organization of a model that was downloaded before.
    cached = Path(cache_dir or HF_HUB_CACHE, f"models--{name.replace('/', '--')}")
    return "/" in name and Path(name).parent.is_dir() and not cached.is_dir()


def _look_at_folder(model: Path) -> tuple[dict[str, Any], dict[str, TensorInfo]]:
    if not os.path.exists(model):
        reason = ""
        if not is_path(str(model)) and model.parent != Path() and model.parent.is_dir():
            reason = f"{model.parent}/ exists here, so it is not taken for a model ID. "
        raise ValueError(f"No such directory: {model}. {reason}Pass a Hugging Face model ID or a local directory.")
    if model.is_file():
        raise ValueError(f"{model} is a file. Pass the directory of the model.")
    config_file = model / "config.json"
    if not config_file.is_file():
        refuse_adapter(model)
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
    return values, read_index(model)


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


def check_free_space(root: Path, model: Path, headers: Mapping[str, TensorInfo]) -> None:
    """Check that a checkpoint of a model's folder has room at the root, and is not written into the model.

    Args:
        root: Checkpoint root; it need not exist.
        model: Folder of the Hugging Face model.
        headers: Headers of its weights.

    Raises:
        ValueError: If there are fewer bytes free than the model's files have, or if the root is in the model's folder.
    """
    check_outside(root, model)
    files = {header.file for header in headers.values()}
    needed = sum((model / file).stat().st_size for file in files)
    free = shutil.disk_usage(nearest(root)).free
    if free < needed:
        raise ValueError(
            f"The output path {root} has {tqdm.format_sizeof(free, 'B')} free and the checkpoint needs "
            f"{tqdm.format_sizeof(needed, 'B')}. Free some space or give a folder on another disk."
        )
