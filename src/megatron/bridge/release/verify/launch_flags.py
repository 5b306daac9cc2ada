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
import re
import shlex
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

from megatron.bridge.release.errors import CorruptFileError, command_line
from megatron.bridge.release.layout import FLAGS_FILE, TOKENIZER
from megatron.bridge.release.megatron_args.comparison import (
    ArgsError,
    UnknownRopeFactorError,
    applied_rope_scaling_factor,
    describe_differences,
    in_current_names,
    check_args,
)
from megatron.bridge.release.megatron_args.flags import megatron_lm_flags
from megatron.bridge.release.megatron_args.table import MODEL_ARGUMENTS, tables_of
from megatron.bridge.release.checkpoint_dir import name_release
from megatron.bridge.release.rope_factor import ENTRY_POINT, ENTRY_POINT_FLAG
from megatron.bridge.release.verify.args import find_args_problem, trained_differences
from megatron.bridge.release.verify.dcp_metadata import read_args


# Some models allow 131,072 tokens: too long for the memory of a first training.
SEQ_LENGTH = 4096

# From core 0.16 on, Megatron-LM has no default for the last two; without the first it refuses --save.
RUN_FLAGS = ("--save-interval", "500", "--eval-interval", "500", "--eval-iters", "0")

# Flags that a shell passes on as they are when $(...) contains them; none is the pattern of a file.
_PLAIN = re.compile(r"[\w@%+=:,./|*()\[\]-]+")


@dataclass(frozen=True)
class Launch:
    """How to start Megatron-LM.

    Attributes:
        flags: Flags of the model, of its tokenizer, of loading the checkpoint directory, and of a run, one word each.
        differences: The value of each argument that a training has changed, which the flags have, and the release's.
    """

    flags: list[str]
    differences: dict[str, tuple[Any, Any]]


def launch_flags(root: Path, folder: Path, release: Path) -> Launch:
    """Return the flags with which Megatron-LM starts from a checkpoint directory.

    They come from the args that the checkpoint contains. A training may have changed the model's function: the flags
    then describe the trained model.

    Args:
        root: Checkpoint directory; the flags name its absolute path.
        folder: Checkpoint folder that the tracker names.
        release: Folder of the release that it belongs to.

    Raises:
        ValueError: If there is no release, if the args of one of them cannot be read, or if no flags express how the
            checkpoint was trained.
    """
    # Megatron-LM starts in its own folder.
    root, release = Path(os.path.abspath(root)), Path(os.path.abspath(release))
    if not release.is_dir() or not release.resolve().is_relative_to(release.parent.resolve()):
        raise ValueError(name_release(root))
    args = _read(release, command_line("repair", release.parent))
    differences: dict[str, tuple[Any, Any]] = {}
    if not folder.samefile(release):
        args, differences = _trained(args, folder, release)
    args.seq_length = min(
        length or SEQ_LENGTH for length in (args.seq_length, args.max_position_embeddings, SEQ_LENGTH)
    )
    flags = megatron_lm_flags(args)
    if unsafe := [flag for flag in flags if not _PLAIN.fullmatch(flag)]:
        raise ValueError(
            f"{folder}: the args contain characters that a shell does not pass on as they are: "
            f"{shlex.join(unsafe)}. Start Megatron-LM with flags of your own."
        )
    if (release / TOKENIZER).is_dir():
        flags += ["--tokenizer-type", "HuggingFaceTokenizer", "--tokenizer-model", str(release / TOKENIZER)]
    return Launch([*flags, "--load", str(root), "--exit-on-missing-checkpoint", *RUN_FLAGS], differences)


def launch_command(flags: list[str]) -> list[str]:
    """Return the words of the command that starts Megatron-LM with these flags, in Megatron-LM's directory."""
    module = ["-m", ENTRY_POINT] if ENTRY_POINT_FLAG in flags else []
    return ["torchrun", *module, "pretrain_gpt.py", *flags]


def _read(folder: Path, what_next: str) -> Namespace:
    """Read the args of a checkpoint folder. Raise ValueError if it has none that describe a model."""
    try:
        args = read_args(folder)
    except CorruptFileError as error:
        raise ValueError(f"{folder}: {error}. {what_next}") from error
    if (problem := find_args_problem(args, None)) is not None:
        raise ValueError(f"{folder}: {problem}. {what_next}")
    found = Namespace(**args)
    try:
        check_args(found)
    except ArgsError as error:
        raise ValueError(f"{folder}: {error} {what_next}") from error
    return found


def _trained(release_args: Namespace, folder: Path, release: Path) -> tuple[Namespace, dict[str, tuple[Any, Any]]]:
    """Return the release's args with what a training has changed, and what that is. Raise ValueError."""
    own_flags = f"Start Megatron-LM with flags of your own; those of the release are in {release / FLAGS_FILE}."
    trained = _read(folder, own_flags)
    try:
        trained.rope_scaling_factor = applied_rope_scaling_factor(trained)
    except UnknownRopeFactorError as error:
        raise ValueError(
            f"{folder}: the args contain rope_scaling_factor={error.factor}, which Megatron-LM's own scripts ignore, and "
            f"do not record which factor the training applied. {own_flags}"
        ) from error
    differences = trained_differences(trained, release_args)
    has_same_rows = trained.padded_vocab_size == release_args.padded_vocab_size
    if not has_same_rows:
        differences["padded_vocab_size"] = (trained.padded_vocab_size, release_args.padded_vocab_size)
    current = in_current_names(trained)
    args = Namespace(**vars(release_args) | {name: getattr(current, name, None) for name in differences})
    types = {argument.name: argument.types for table in tables_of(args) for argument in table}
    left = {
        name: pair
        for name, pair in differences.items()
        if name not in MODEL_ARGUMENTS or not isinstance(getattr(args, name), (types.get(name, object), NoneType))
    }
    left |= trained_differences(trained, args)
    # Another tensor parallelism pads to other rows. Another vocabulary belongs to another tokenizer than the release's.
    if trained.vocab_size != release_args.vocab_size and not (trained.vocab_size is None and has_same_rows):
        left["vocab_size"] = (trained.vocab_size, release_args.vocab_size)
    if left:
        raise ValueError(
            f"{folder} was trained with other arguments than its release, which launch cannot express as flags: "
            f"{describe_differences(left, 'release')}. {own_flags}"
        )
    return args, differences
