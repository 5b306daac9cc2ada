# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Copies files of the source model and the tokenizer into an export."""

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from megatron.bridge.release.compat.bridge_api import architecture_bridge, load_keywords
from megatron.bridge.release.errors import one_line
from megatron.bridge.release.export.errors import NoTokenizerError
from megatron.bridge.release.source.model_files import (
    CODE_FILES,
    MODEL_FILES,
    TOKENIZER_FILES,
    copy_files,
    find_files,
)
from megatron.bridge.release.write.tokenizer import local_folder


def copy_model_files(bridge: Any, folder: Path, tokenizer: str | Path | None, source_path: str | Path | None) -> None:
    """Copy the files of the source model except its config and weights.

    Args:
        bridge: The `AutoBridge` of the source model.
        folder: Directory of the export.
        tokenizer: Directory of the tokenizer; None for the source model's.
        source_path: Directory of the source model's code, if it is elsewhere.

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
        copy_files(local_folder(model, load_keywords(hf_pretrained), patterns), patterns, folder)
    if trusted and source_path is not None:
        copy_files(local_folder(source_path, {}, CODE_FILES), CODE_FILES, folder)
    if tokenizer is not None:
        copy_files(Path(tokenizer), TOKENIZER_FILES, folder)


def tokenizer_size(folder: str | Path | None, trust_remote_code: bool = False) -> int | None:
    """Return the largest token ID of a tokenizer plus one; None if there is no directory.

    Raises:
        NoTokenizerError: If transformers cannot load a tokenizer from the directory.
    """
    if folder is None:
        return None
    try:
        if not find_files(Path(folder), TOKENIZER_FILES):
            raise FileNotFoundError("no tokenizer files")
        vocabulary: dict[str, int] = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=trust_remote_code
        ).get_vocab()
        return max(vocabulary.values()) + 1
    except Exception as error:
        # transformers raises errors of many types.
        raise NoTokenizerError(Path(folder), one_line(error)) from error
