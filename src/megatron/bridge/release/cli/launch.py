# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""``launch``: prints the command that starts Megatron-LM from a checkpoint directory."""

import argparse
import json
import os
import re
import sys
from pathlib import Path

import yaml

from megatron.bridge.release.checkpoint_dir import find_release
from megatron.bridge.release.megatron_args.comparison import describe_differences
from megatron.bridge.release.verify.errors import ShellPathError
from megatron.bridge.release.verify.launch import find_launch, launch_command


_SAFE = re.compile(r"[\w@%+=:,./-]+")


def run_launch(options: argparse.Namespace) -> int:
    """Print the command, or the flags as YAML."""
    root = Path(os.path.abspath(options.path))
    release = find_release(root, options.release)
    launch = find_launch(root, release)
    flags = launch.flags
    if launch.differences:
        print(
            "note: The command has arguments that the training has changed: "
            + describe_differences(launch.differences, "release"),
            file=sys.stderr,
        )
    if options.json:
        print(json.dumps({"root": str(root), "launch": flags, "command": launch_command(flags)}, indent=2))
    elif options.format == "yaml":
        print(yaml.safe_dump({"MODEL_ARGS": _model_args(flags)}, sort_keys=False), end="")
    else:
        # The shell splits $(...) at whitespace and expands globs.
        for path in (root, Path(os.path.abspath(release))):
            if not _SAFE.fullmatch(str(path)):
                raise ShellPathError(path)
        print(*launch_command(flags))
    return 0


def _model_args(flags: list[str]) -> dict[str, str | bool]:
    """Return flags in the form of the YAML files of Megatron-LM's tests: a switch has the value true."""
    values: dict[str, str | bool] = {}
    arguments = iter([*flags, "--"])
    argument = next(arguments)
    while argument != "--":
        name, has_value, value = argument.partition("=")
        following = next(arguments)
        if not has_value and not following.startswith("--"):
            has_value, value, following = "=", following, next(arguments)
        values[name] = value if has_value else True
        argument = following
    return values
