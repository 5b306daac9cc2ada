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

"""Edits to upstream's peft/lora_layers.py."""

from patches.engine import AddImport, Edit, ReplaceImport


TARGET = "megatron/bridge/peft/lora_layers.py"

EDITS = (
    Edit(
        name="transformer-engine",
        symbol="",
        why="AutoBridge imports this module; only its fused LoRA layer needs Transformer Engine, when it is built.",
        drop_when="upstream imports Transformer Engine where it is used.",
        do=ReplaceImport(
            "transformer_engine.pytorch",
            """
            try:
                import transformer_engine.pytorch as te
            except ImportError:
                te = None
            """,
        ),
    ),
    Edit(
        name="annotations",
        symbol="",
        why="Annotations name Transformer Engine's classes, which are not there to be evaluated.",
        drop_when="upstream imports Transformer Engine where it is used.",
        do=AddImport("from __future__ import annotations"),
    ),
)
