# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's scripts/conversion/gpu_backend.py."""

from patches.edit import Edit
from patches.operations import AddParameter, PassArgument


TARGET = "scripts/conversion/gpu_backend.py"

EDITS = (
    Edit(
        name="import-release",
        symbol="import_checkpoint",
        why="An option of the script to write a release checkpoint.",
        drop_when="upstream's script has an option for a release.",
        do=(
            AddParameter(
                "release: bool = False",
                keyword_only=True,
                doc="release: Write the release checkpoint that Megatron-LM fine-tunes from.",
            ),
            PassArgument("bridge.save_megatron_model", "release=release"),
        ),
    ),
)
