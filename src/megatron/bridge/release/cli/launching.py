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

"""``launch``: prints the command that starts Megatron-LM from a root."""

import argparse
import json
import os
import re
import shlex
import sys
from pathlib import Path

import yaml

from megatron.bridge.release.checkpoint_dir import read_checkpoint_dir
from megatron.bridge.release.errors import command_line
from megatron.bridge.release.layout import COMMON_STATE, INTEGRITY_FILE, RELEASE, TOKENIZER, TRACKER, parse_tracker
from megatron.bridge.release.manifest import digests, read_manifest
from megatron.bridge.release.megatron_args.comparison import describe_differences
from megatron.bridge.release.checkpoint_dir import find_release
from megatron.bridge.release.verify.launch_flags import Launch, launch_command, launch_flags


_SAFE = re.compile(r"[\w@%+=:,./-]+")


def run_launch(options: argparse.Namespace) -> int:
    """Print the command, or the flags as YAML."""
    root = Path(os.path.abspath(options.path))
    release = find_release(root, options.release)
    launch = _launch(root, release)
    flags = launch.flags
    if launch.differences:
        print(
            "note: The checkpoint was trained with other arguments than its release, and the command has those of the "
            f"training: {describe_differences(launch.differences, 'release')}",
            file=sys.stderr,
        )
    if options.json:
        print(json.dumps({"root": str(root), "launch": flags, "command": launch_command(flags)}, indent=2))
    elif options.format == "yaml":
        print(yaml.safe_dump({"MODEL_ARGS": _model_args(flags)}, sort_keys=False), end="")
    else:
        # $(...) takes words apart at spaces, fills in patterns, and leaves quotes in them.
        for path in (str(root), os.path.abspath(release)):
            if not _SAFE.fullmatch(path):
                raise ValueError(
                    f"{shlex.quote(path)} has a character in it, such as a space, that a shell does not take as it is. "
                    "Move it to a path of letters and digits, or take --format yaml or --json."
                )
        print(*launch_command(flags))
    return 0


def _launch(root: Path, release_folder: Path) -> Launch:
    """Return how to start Megatron-LM from a root; raise ValueError, with what to do, where it cannot start from it."""
    found, look = read_checkpoint_dir(root), f"To see what is there: {command_line('check', root)}"
    if found.tracker is None:
        raise ValueError(f"{root} has no {TRACKER}: Megatron-LM treats it as empty. {look}")
    iteration, release = parse_tracker(found.tracker, str(root / TRACKER))
    name = RELEASE if release else f"iter_{iteration:07d}"
    if name not in found.checkpoints:
        raise ValueError(f"The tracker of {root} names {name}, which contains no checkpoint. {look}")
    if not release and iteration == 0:
        raise ValueError(
            f"{root} holds upstream's import, which Megatron-LM before core 0.16 refuses, and later ones without --finetune. "
            f"{command_line('repair', root)}"
        )
    _require_as_written(release_folder, look)
    return launch_flags(root, root / name, release_folder)


def _require_as_written(release: Path, look: str) -> None:
    """Require that the files of the command have the checksums of the import. Raise ValueError."""
    if not (release / INTEGRITY_FILE).is_file():
        return
    try:
        written = read_manifest(release)
    except ValueError as error:
        raise ValueError(f"{release / INTEGRITY_FILE} is damaged ({error}). {look}") from error
    used = [name for name in written if name == COMMON_STATE or name.startswith(f"{TOKENIZER}/")]
    if gone := [name for name in used if not (release / name).is_file()]:
        raise ValueError(f"{release / gone[0]} is missing. {look}")
    if changed := [name for name, digest in digests(release, used).items() if digest != written[name]]:
        raise ValueError(f"{release / changed[0]} has another checksum than {INTEGRITY_FILE} says. {look}")


def _model_args(flags: list[str]) -> dict[str, str | bool]:
    """Return flags as Megatron-LM's own tests write them in YAML: a switch has the value true."""
    values: dict[str, str | bool] = {}
    words = iter([*flags, "--"])
    word = next(words)
    while word != "--":
        name, has_value, value = word.partition("=")
        following = next(words)
        if not has_value and not following.startswith("--"):
            has_value, value, following = "=", following, next(words)
        values[name] = value if has_value else True
        word = following
    return values
