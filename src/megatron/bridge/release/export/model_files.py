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

"""The files that an export copies from its source model, and the tokenizer that replaces the source's."""

from megatron.bridge.release.compat.bridge_api import architecture_bridge
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from megatron.bridge.release.source.model_files import (
    CODE_FILES,
    MODEL_FILES,
    TOKENIZER_FILES,
    copy_files,
    find_files,
)
from megatron.bridge.release.write.tokenizer import local_folder


def copy_model_files(bridge: Any, folder: Path, tokenizer: str | Path | None, source_path: str | Path | None) -> None:
    """Copy the files of the source model that are not its config and its weights.

    Args:
        bridge: The `AutoBridge` of the source model.
        folder: Folder of the export.
        tokenizer: Folder of another tokenizer than the source model's; None for that.
        source_path: Folder of the source model's code, if that is elsewhere.

    Raises:
        ValueError: If a file cannot be copied.
        OSError: If a file cannot be read or written.
    """
    hf_pretrained = bridge.hf_pretrained
    trusted = getattr(hf_pretrained, "trust_remote_code", False) is True
    kept = () if tokenizer is not None else TOKENIZER_FILES
    patterns = (*kept, *MODEL_FILES, *(getattr(architecture_bridge(bridge), "ADDITIONAL_FILE_PATTERNS", None) or ()))
    patterns = (*patterns, *CODE_FILES) if trusted else patterns
    model = getattr(hf_pretrained, "model_name_or_path", None) or bridge.hf_model_id
    if model is not None:
        copy_files(local_folder(model, getattr(hf_pretrained, "init_kwargs", {}), patterns), patterns, folder)
    if trusted and source_path is not None:
        copy_files(local_folder(source_path, {}, CODE_FILES), CODE_FILES, folder)
    if tokenizer is not None:
        copy_files(Path(tokenizer), TOKENIZER_FILES, folder)


def tokenizer_size(folder: str | Path | None, trust_remote_code: bool = False) -> int | None:
    """Return how many rows of an embedding a tokenizer needs.

    Args:
        folder: Folder of the tokenizer; None for the source model's.
        trust_remote_code: Whether to run the tokenizer's own Python code.

    Returns:
        Its largest token ID plus one; None for the source model's tokenizer.

    Raises:
        ValueError: If the folder has no tokenizer that transformers can load. One line.
    """
    if folder is None:
        return None
    try:
        if not find_files(Path(folder), TOKENIZER_FILES):
            raise ValueError("no tokenizer files")
        vocabulary: dict[str, int] = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=trust_remote_code
        ).get_vocab()
        return max(vocabulary.values()) + 1
    except Exception as error:
        # transformers raises many kinds.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"transformers cannot load the tokenizer {folder} ({reason}). Give the tokenizer's folder."
        ) from error
