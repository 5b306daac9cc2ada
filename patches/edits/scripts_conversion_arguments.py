# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's scripts/conversion/arguments.py."""

from patches.edit import Edit
from patches.operations import InsertStatements


TARGET = "scripts/conversion/arguments.py"

_DROP = "upstream's script has an option for a release."

EDITS = (
    Edit(
        name="import-release",
        symbol="build_parser",
        why="An option of the script to write a release checkpoint.",
        drop_when=_DROP,
        do=InsertStatements(
            """
            import_parser.add_argument(
                "--release",
                action="store_true",
                help="Write the release checkpoint that Megatron-LM fine-tunes from: release/ and the tracker 'release'.",
            )
            """,
            after_call="_add_common_conversion_arguments(import_parser, ...)",
        ),
    ),
    Edit(
        name="worker-release",
        symbol="conversion_worker_args",
        why="The launcher passes the option to the worker.",
        drop_when=_DROP,
        do=InsertStatements(
            """
            if args.command == "import" and args.release:
                worker_args.append("--release")
            """,
            at_end=True,
        ),
    ),
)
