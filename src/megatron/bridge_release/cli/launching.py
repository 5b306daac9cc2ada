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
import shlex
from pathlib import Path

import yaml

from megatron.bridge_release.cli.printing import launch_command
from megatron.bridge_release.commands import release_command, repair_command
from megatron.bridge_release.launch_flags import launch_flags
from megatron.bridge_release.layout import FLAGS_FILE, RELEASE, TRACKER, parse_tracker
from megatron.bridge_release.root import read_root


def run_launch(options: argparse.Namespace) -> int:
    """Print the command, or the flags as YAML."""
    root = Path(os.path.abspath(options.path))
    flags = _flags(root)
    if options.json:
        print(json.dumps({"root": str(root), "launch": flags, "command": launch_command(flags)}, indent=2))
    elif options.format == "yaml":
        print(yaml.safe_dump({"MODEL_ARGS": _model_args(flags)}, sort_keys=False), end="")
    else:
        # $(...) takes words apart at spaces, and leaves quotes in them.
        if spaced := [flag for flag in flags if flag.split() != [flag]]:
            raise ValueError(
                f"{shlex.quote(spaced[0])} has a space in it, which $(...) does not carry. Move {root} to a path without "
                "spaces, or take --format yaml or --json."
            )
        print(*launch_command(flags))
    return 0


def _flags(root: Path) -> list[str]:
    """Return Megatron-LM's flags for a root; raise ValueError, with what to do, where it cannot start from it."""
    found = read_root(root)
    if found.tracker is None:
        raise ValueError(f"{root} has no {TRACKER}: Megatron-LM treats it as empty. {release_command('check', root)}")
    iteration, release = parse_tracker(found.tracker, str(root / TRACKER))
    name = RELEASE if release else f"iter_{iteration:07d}"
    if name not in found.checkpoints:
        raise ValueError(
            f"The tracker of {root} names {name}, which holds no checkpoint. {release_command('check', root)}"
        )
    if not release and iteration == 0:
        raise ValueError(
            f"{root} holds upstream's import, from which Megatron-LM does not start. {repair_command(root)}"
        )
    flags = launch_flags(root)
    if not flags:
        raise ValueError(f"{root / RELEASE} has no {FLAGS_FILE}. {repair_command(root)}")
    return flags


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
