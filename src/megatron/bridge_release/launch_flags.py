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

"""The flags with which Megatron-LM starts from a root."""

import os
from pathlib import Path

from megatron.bridge_release.layout import FLAGS_FILE, RELEASE, TOKENIZER


def launch_flags(root: Path) -> list[str]:
    """Return the flags with which Megatron-LM starts from a root.

    Args:
        root: Checkpoint root; the flags name its absolute path.

    Returns:
        The model's flags, its tokenizer's, and those that load the root, a word each; empty where its release has no
        flags of its own.

    Raises:
        OSError: If the release's flags cannot be read.
    """
    # Megatron-LM starts in its own folder.
    root = Path(os.path.abspath(root))
    flags, tokenizer = root / RELEASE / FLAGS_FILE, root / RELEASE / TOKENIZER
    if not flags.is_file() or not flags.resolve().is_relative_to(root.resolve()):
        return []
    words = flags.read_text(encoding="utf-8", errors="replace").split()
    if tokenizer.is_dir():
        words += ["--tokenizer-type", "HuggingFaceTokenizer", "--tokenizer-model", str(tokenizer)]
    return [*words, "--load", str(root), "--exit-on-missing-checkpoint"]
