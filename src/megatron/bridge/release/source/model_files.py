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

"""The files of a Hugging Face model that are copied unchanged: those of its tokenizer, and those beside its weights.

What transformers writes anew differs: its version 5 names classes that version 4 does not have, and leaves out files.

Importing this module imports neither torch nor Megatron Core.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path


# The vocabularies have the names that the tokenizer classes of transformers give them (`vocab_files_names`).
TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "added_tokens.json", "special_tokens_map.json"),
    *("*.spm", "*.tiktoken", "bpe.codes", "dict.txt", "merges.txt", "sentencepiece.bpe.model", "spiece.model"),
    *("spm*.model", "tekken.json", "tiktoken.model", "tokenizer.*.json", "tokenizer.model", "tokenizer.model.*"),
    *("vocab-*", "vocab.*"),
    *("chat_template.jinja", "chat_template.json", "additional_chat_templates/*.jinja"),
)
# The licenses of most models must stay with them.
MODEL_FILES = (
    *("generation_config.json", "preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json"),
    *("*LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*"),
)
# Code runs only if the user trusts it, and then the tokenizer or the model needs it.
CODE_FILES = ("*.py",)


def find_files(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """Find the files of a model.

    Args:
        folder: The model's folder, or a snapshot in the cache of the Hugging Face Hub, which consists of symlinks.
        patterns: Patterns of their paths in the folder, as of `Path.glob`.

    Returns:
        Their paths, sorted; folders of such a name are left out.

    Raises:
        ValueError: If one is not a file, such as a dangling symlink.
    """
    paths = sorted({path for pattern in patterns for path in folder.glob(pattern) if not path.is_dir()})
    for path in paths:
        if not path.is_file():
            raise ValueError(f"{path} is a dangling symlink or not a regular file. Restore it from the model.")
    return paths


def copy_files(folder: Path, patterns: Sequence[str], target: Path) -> list[str]:
    """Copy files of a model, the content of symlinks too.

    Args:
        folder: The model's folder.
        patterns: Patterns of their paths in the folder.
        target: Folder to write.

    Returns:
        Their paths in the folder.

    Raises:
        ValueError: If one is not a file.
        OSError: If one cannot be read or written.
    """
    names = [path.relative_to(folder) for path in find_files(folder, patterns)]
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, target / name)
    return [name.as_posix() for name in names]
