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

"""The command that starts Megatron-LM from a checkpoint directory."""

import os
from collections.abc import Iterable
from pathlib import Path

from megatron.bridge_release.layout import FLAGS_FILE, TOKENIZER
from megatron.bridge_release.rope_factor import ENTRY_POINT, is_factor_ignored


# Some models allow 131,072 tokens: too long for the memory of a first training.
SEQ_LENGTH = 4096

# From core 0.16 on, Megatron-LM has no default for the last two; without the first it refuses --save.
RUN_FLAGS = ("--save-interval", "500", "--eval-interval", "500", "--eval-iters", "0")


def launch_flags(root: Path, release: Path) -> list[str]:
    """Return the flags with which Megatron-LM starts from a root.

    Args:
        root: Checkpoint root; the flags name its absolute path.
        release: Folder of the release that the root belongs to.

    Returns:
        The flags of the model, of its tokenizer, of loading the root, and of a run, one word each; empty if its release
        has no file of flags.

    Raises:
        OSError: If the release's flags cannot be read.
    """
    # Megatron-LM starts in its own folder.
    root, release = Path(os.path.abspath(root)), Path(os.path.abspath(release))
    flags, tokenizer = release / FLAGS_FILE, release / TOKENIZER
    if not flags.is_file() or not flags.resolve().is_relative_to(release.parent.resolve()):
        return []
    words = flags.read_text(encoding="utf-8", errors="replace").split()
    longest = _values(words).get("--seq-length", "")
    if longest.isdecimal() and int(longest) > SEQ_LENGTH:
        words += ["--seq-length", str(SEQ_LENGTH)]
    if tokenizer.is_dir():
        words += ["--tokenizer-type", "HuggingFaceTokenizer", "--tokenizer-model", str(tokenizer)]
    return [*words, "--load", str(root), "--exit-on-missing-checkpoint", *RUN_FLAGS]


def launch_command(flags: list[str]) -> list[str]:
    """Return the words of the command that starts Megatron-LM with these flags, in Megatron-LM's directory."""
    module = ["-m", ENTRY_POINT] if needs_entry_point(flags) else []
    return ["torchrun", *module, "pretrain_gpt.py", *flags]


def needs_entry_point(flags: Iterable[str]) -> bool:
    """Return whether Megatron-LM's own builder makes another model than a release's flags describe."""
    values = _values(flags)
    factor = values.get("--rope-scaling-factor")
    return is_factor_ignored("--use-rope-scaling" in values, None if factor is None else float(factor))


def _values(flags: Iterable[str]) -> dict[str, str]:
    """Return the values of flags as a release's file has them: ``--flag`` or ``--flag=value``."""
    return {name: value for name, _, value in (flag.partition("=") for flag in flags)}
