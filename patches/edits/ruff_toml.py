# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's ruff.toml."""

from patches.text_edit import AddToTomlList, TextEdit


TARGET = "ruff.toml"

EDITS = (
    TextEdit(
        name="first-party",
        symbol="lint.isort",
        why="The commands' own imports are first-party ones.",
        drop_when="upstream's settings know megatron.bridge.release.",
        do=AddToTomlList("lint.isort.known-first-party", ("megatron.bridge.release",)),
    ),
)
