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

"""Saves the tokenizer of a checkpoint; a release gets the files of its source model, unchanged."""

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download

from megatron.bridge.release.compat.megatron_core_api import MultiStorageClientFeature
from megatron.bridge.release.layout import TOKENIZER
from megatron.bridge.release.source.hub import TOKENIZER_KEYWORDS
from megatron.bridge.release.source.model_files import CODE_FILES, TOKENIZER_FILES, copy_files
from megatron.bridge.training.utils.all_ranks import on_rank_0


# transformers chooses the class of a tokenizer by the model's type too.
_CONFIG = "config.json"


def save_tokenizer(save: Callable[[], None], folder: str, source: Any = None) -> None:
    """Save a checkpoint's tokenizer. Collective for a release: a failure is raised on every rank.

    Args:
        save: Saves it as upstream does.
        folder: Checkpoint folder.
        source: For a release, the tokenizer's config, which names the model; else None.

    Raises:
        RuntimeError: If the release gets no tokenizer.
    """
    if source is None:
        save()
    else:
        on_rank_0(lambda: _copy_tokenizer(source.tokenizer_model, source.hf_tokenizer_kwargs or {}, folder))


def _copy_tokenizer(model: str | Path, keywords: Mapping[str, Any], folder: str) -> None:
    try:
        code = CODE_FILES if keywords.get("trust_remote_code") else ()
        patterns = (*TOKENIZER_FILES, _CONFIG, *code)
        source = local_folder(model, keywords, patterns)
        if MultiStorageClientFeature.is_enabled():
            with tempfile.TemporaryDirectory() as copy:
                names = copy_files(source, patterns, Path(copy))
                for name in names:
                    content = Path(copy, name).read_bytes()
                    with MultiStorageClientFeature.import_package().open(f"{folder}/{TOKENIZER}/{name}", "wb") as file:
                        file.write(content)
        else:
            names = copy_files(source, patterns, Path(folder, TOKENIZER))
    except (OSError, ValueError) as error:
        raise RuntimeError(f"The tokenizer could not be saved, so nothing is published: {error}") from error
    if not names:
        raise RuntimeError(f"{model} has no tokenizer files, so nothing is published.")


def local_folder(model: str | Path, keywords: Mapping[str, Any], patterns: Sequence[str]) -> Path:
    """Return the local folder that has a model's files; for a model of the Hub, its snapshot in the cache.

    Args:
        model: Folder of a model, or its ID on the Hugging Face Hub.
        keywords: Keywords of `from_pretrained`.
        patterns: Patterns of the files that are needed.

    Raises:
        OSError: If the files of a model of the Hub cannot be downloaded.
    """
    place = {name: keywords[name] for name in TOKENIZER_KEYWORDS & keywords.keys()}
    subfolder = place.pop("subfolder", "")
    folder = os.path.expanduser(model)
    if not os.path.isdir(folder):
        folder = snapshot_download(
            str(model), allow_patterns=[os.path.join(subfolder, pattern) for pattern in patterns], **place
        )
    return Path(folder, subfolder)
