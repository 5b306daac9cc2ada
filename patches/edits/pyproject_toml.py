# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's pyproject.toml."""

from patches.text_edit import AddToTomlList, TextEdit


TARGET = "pyproject.toml"

EDITS = (
    TextEdit(
        name="package",
        symbol="tool.setuptools.packages.find",
        why="The commands stand beside megatron.bridge, whose import takes many seconds, and go into its wheel.",
        drop_when="upstream packages megatron.bridge.release.",
        do=AddToTomlList(
            "tool.setuptools.packages.find.include", ("megatron.bridge.release", "megatron.bridge.release.*")
        ),
    ),
)
