# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's peft/lora_layers.py."""

from patches.edit import Edit
from patches.operations import ReplaceStatement


TARGET = "megatron/bridge/peft/lora_layers.py"

EDITS = (
    Edit(
        name="transformer-engine",
        symbol="",
        why="AutoBridge imports this module; only its fused LoRA layer needs Transformer Engine, when it is built. "
        "Annotations name its classes, which are not there to be evaluated.",
        drop_when="upstream imports Transformer Engine where it is used.",
        do=ReplaceStatement(
            """
            try:
                import transformer_engine.pytorch as te
            except ImportError:
                te = None
            """,
            imports="transformer_engine.pytorch",
            was="bbcd678c4dfe",
        ),
        imports=("from __future__ import annotations",),
    ),
)
