# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's `__init__.py` of the package."""

from patches.edit import Edit
from patches.operations import InsertStatements, ReplaceStatement


TARGET = "megatron/bridge/__init__.py"

EDITS = (
    Edit(
        name="lazy",
        symbol="",
        why="Importing any module runs this file. Without the model classes, that takes no time and needs no torch.",
        drop_when="upstream loads AutoBridge when it is used.",
        do=(
            ReplaceStatement("", imports="megatron.bridge.diffusion.models", was="85df37b194e2"),
            ReplaceStatement("", imports="megatron.bridge.models", was="d21801249fac"),
            ReplaceStatement("", imports="AutoBridge", was="1410186a3b7a"),
            InsertStatements(
                '''
                def __getattr__(name: str) -> Any:
                    """Load and register all models when they are first used; the package `release` needs none."""
                    if name != "AutoBridge" and find_spec(f"{__name__}.{name}") is None:
                        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
                    if name != "release":
                        bridge = import_module("megatron.bridge.models.conversion.auto_bridge")
                        globals()["AutoBridge"] = bridge.AutoBridge
                    return globals()["AutoBridge"] if name == "AutoBridge" else import_module(f"{__name__}.{name}")


                def __dir__() -> list[str]:
                    """Name also what is not loaded yet."""
                    return sorted({*globals(), *__all__})
                ''',
                at_end=True,
            ),
        ),
        imports=(
            "from importlib import import_module",
            "from importlib.util import find_spec",
            "from typing import Any",
        ),
    ),
)
