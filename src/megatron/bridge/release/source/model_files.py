# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Copies files of a Hugging Face model: tokenizer, licenses, code.

They are copied, not saved again: transformers 5 writes class names that version 4 does not have, and leaves out files.

Importing this module imports neither torch nor Megatron Core.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from megatron.bridge.release.source.errors import NotModelFileError


# Vocabularies: `vocab_files_names` of the tokenizer classes of transformers.
TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "added_tokens.json", "special_tokens_map.json"),
    *("*.spm", "*.tiktoken", "bpe.codes", "dict.txt", "merges.txt", "sentencepiece.bpe.model", "spiece.model"),
    *("spm*.model", "tekken.json", "tiktoken.model", "tokenizer.*.json", "tokenizer.model", "tokenizer.model.*"),
    *("vocab-*", "vocab.*"),
    *("chat_template.jinja", "chat_template.json", "additional_chat_templates/*.jinja"),
)
# Most licenses require that a copy contains them.
MODEL_FILES = (
    *("generation_config.json", "preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json"),
    *("*LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*"),
)
# The Python code of the tokenizer and the model, which runs only with trust_remote_code.
CODE_FILES = ("*.py",)


def find_files(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """Find the files of a model that match glob patterns, sorted. Raise `NotModelFileError` for a dangling symlink."""
    paths = sorted({path for pattern in patterns for path in folder.glob(pattern) if not path.is_dir()})
    for path in paths:
        if not path.is_file():
            raise NotModelFileError(path)
    return paths


def copy_files(folder: Path, patterns: Sequence[str], target: Path) -> list[str]:
    """Copy the files of a model that match glob patterns, with the content of symlinks.

    Args:
        folder: Directory of the model.
        patterns: Patterns of relative paths.
        target: Directory to copy to.

    Returns:
        Their relative paths.

    Raises:
        NotModelFileError: If one is a dangling symlink or not a regular file.
        OSError: If one cannot be read or written.
    """
    names = [path.relative_to(folder) for path in find_files(folder, patterns)]
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, target / name)
    return [name.as_posix() for name in names]
