# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's diffusion/__init__.py."""

from patches.edit import Edit
from patches.operations import InsertStatements


TARGET = "megatron/bridge/diffusion/__init__.py"

EDITS = (
    Edit(
        name="models-first",
        symbol="",
        why="The diffusion bridges import megatron.bridge.models, which registers them at its end. It must be imported before "
        "any of them, or the import is circular.",
        drop_when="upstream registers the diffusion bridges when a bridge is looked up.",
        do=InsertStatements("import megatron.bridge.models  # noqa: F401", at_end=True),
    ),
)
