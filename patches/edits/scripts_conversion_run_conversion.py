# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's scripts/conversion/run_conversion.py."""

from patches.edit import Edit
from patches.operations import InsertStatements, PassArgument


TARGET = "scripts/conversion/run_conversion.py"

EDITS = (
    Edit(
        name="import-release",
        symbol="_run_import",
        why="An option of the script to write a release checkpoint.",
        drop_when="upstream's script has an option for a release.",
        do=(
            InsertStatements('release_kwargs = {"release": True} if args.release else {}'),
            PassArgument("cpu_backend.import_checkpoint", "**release_kwargs"),
            PassArgument("gpu_backend.import_checkpoint", "**release_kwargs"),
        ),
    ),
)
