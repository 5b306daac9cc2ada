# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Copies the tokenizer files of a source model into a release, unchanged."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download

from megatron.bridge.release.compat.megatron_core_api import MultiStorageClientFeature
from megatron.bridge.release.layout import TOKENIZER
from megatron.bridge.release.source.hub import TOKENIZER_KEYWORDS
from megatron.bridge.release.source.model_files import CODE_FILES, TOKENIZER_FILES, copy_files
from megatron.bridge.release.write.errors import TokenizerFilesError


# transformers also chooses the class of a tokenizer by the type of the model.
_CONFIG = "config.json"


def copy_tokenizer(model: str | Path, keywords: Mapping[str, Any], folder: str | Path) -> None:
    """Copy the tokenizer files of a model into a release.

    Args:
        model: Model ID, or directory of the model.
        keywords: Keywords with which its tokenizer is loaded.
        folder: The release, which may be in an object store.

    Raises:
        TokenizerFilesError: If there are no such files, or if they cannot be copied.
    """
    code = CODE_FILES if keywords.get("trust_remote_code") else ()
    patterns = (*TOKENIZER_FILES, _CONFIG, *code)
    try:
        source = local_folder(model, keywords, patterns)
        if MultiStorageClientFeature.is_enabled():
            names = _copy_to_object_store(source, patterns, str(folder))
        else:
            names = copy_files(source, patterns, Path(folder, TOKENIZER))
    except (OSError, ValueError) as error:
        raise TokenizerFilesError(str(model), str(error)) from error
    if not names:
        raise TokenizerFilesError(str(model), None)


def _copy_to_object_store(source: Path, patterns: Sequence[str], folder: str) -> Sequence[str]:
    with tempfile.TemporaryDirectory() as directory:
        names = copy_files(source, patterns, Path(directory))
        for name in names:
            with MultiStorageClientFeature.import_package().open(f"{folder}/{TOKENIZER}/{name}", "wb") as file:
                file.write(Path(directory, name).read_bytes())
    return names


def local_folder(model: str | Path, keywords: Mapping[str, Any], patterns: Sequence[str]) -> Path:
    """Return the directory of a model, or the snapshot of a model of the Hub in the cache.

    Args:
        model: Model ID, or directory of a model.
        keywords: Keywords of `from_pretrained`.
        patterns: Patterns of the required files.

    Raises:
        OSError: If the files cannot be downloaded.
    """
    place = {name: keywords[name] for name in TOKENIZER_KEYWORDS & keywords.keys()}
    subfolder = place.pop("subfolder", "")
    folder = os.path.expanduser(model)
    if not os.path.isdir(folder):
        folder = snapshot_download(
            str(model), allow_patterns=[os.path.join(subfolder, pattern) for pattern in patterns], **place
        )
    return Path(folder, subfolder)
