# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Finds a Hugging Face model, and checks that it is complete.

Importing this module imports neither torch nor Megatron Core.
"""

import glob
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tqdm import tqdm

from megatron.bridge.release.checkpoint_dir import nearest_existing
from megatron.bridge.release.source.config_file import read_model_config
from megatron.bridge.release.source.errors import (
    FreeSpaceError,
    GlobCharactersError,
    InvalidModelNameError,
    LocalRevisionError,
    ModelDirNotFoundError,
    NotModelDirError,
    OutputInModelError,
)
from megatron.bridge.release.source.hub import download_model
from megatron.bridge.release.source.provenance import SourceModel, is_path
from megatron.bridge.release.source.safetensors_index import (
    TensorInfo,
    read_index,
    refuse_adapter,
    require_usual_weights,
)
from megatron.bridge.release.text import is_utf8


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
        ReleaseError: If the directory does not exist or does not contain a complete model, if a revision of a directory is
            requested, or (`HubError`) if the model cannot be downloaded.
    """
    if not str(hf_model_id) or "\0" in str(hf_model_id) or not is_utf8(str(hf_model_id)):
        raise InvalidModelNameError(str(hf_model_id))
    folder = Path(os.path.expanduser(hf_model_id))
    if os.path.exists(folder) or _is_local(str(hf_model_id), keywords.get("cache_dir")):
        if (revision := keywords.get("revision")) is not None:
            raise LocalRevisionError(folder, revision)
        model = SourceModel(str(folder), folder)
    else:
        model = download_model(str(hf_model_id), keywords)
    return model, *_inspect_folder(model.folder)


def _is_local(name: str, cache_dir: str | Path | None) -> bool:
    """Return whether a name is a path, and not a model ID.

    Args:
        name: The name. There is no such directory.
        cache_dir: Cache of `huggingface_hub`; None for the default one.
    """
    if is_path(name):
        return True
    # Imported here because they are slow, and a path does not need them.
    from huggingface_hub.constants import HF_HUB_CACHE

    from megatron.bridge.release.compat.hub_api import HFValidationError, validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return True
    # An output directory may have the name of the organization of a model that was downloaded before.
    cached = Path(cache_dir or HF_HUB_CACHE, f"models--{name.replace('/', '--')}")
    return "/" in name and Path(name).parent.is_dir() and not cached.is_dir()


def _inspect_folder(model: Path) -> tuple[dict[str, Any], dict[str, TensorInfo]]:
    if not os.path.exists(model):
        is_ambiguous = not is_path(str(model)) and model.parent != Path() and model.parent.is_dir()
        raise ModelDirNotFoundError(model, model.parent if is_ambiguous else None)
    if model.is_file():
        raise NotModelDirError(model, "file")
    config_file = model / "config.json"
    if not config_file.is_file():
        refuse_adapter(model)
        raise NotModelDirError(model, "directory")
    if glob.escape(str(model)) != str(model):
        raise GlobCharactersError(model)
    config = read_model_config(config_file)
    require_usual_weights(config_file, config.get("transformers_weights"))
    return config, read_index(model)


def check_outside(path: Path, model: Path) -> None:
    """Raise `OutputInModelError` if an output path, which need not exist, is a model's directory or inside it."""
    if path.resolve().is_relative_to(model.resolve()):
        raise OutputInModelError(path, model)


def check_free_space(root: Path, model: Path, headers: Mapping[str, TensorInfo]) -> None:
    """Check that there is space for a checkpoint of a model, and that it is not written into the model.

    Args:
        root: Checkpoint directory; it need not exist.
        model: Directory of the Hugging Face model.
        headers: Headers of its weights.

    Raises:
        FreeSpaceError: If there is less free space than the model's weight files take.
        OutputInModelError: See `check_outside`.
    """
    check_outside(root, model)
    files = {tensor.file for tensor in headers.values()}
    needed = sum((model / file).stat().st_size for file in files)
    free = shutil.disk_usage(nearest_existing(root)).free
    if free < needed:
        raise FreeSpaceError(root, tqdm.format_sizeof(free, "B"), tqdm.format_sizeof(needed, "B"))
