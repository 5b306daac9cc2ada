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

"""Edits to upstream's models/hybrid/hybrid_provider.py."""

from patches.engine import Edit, ReplaceDefault, ReplaceImport


TARGET = "megatron/bridge/models/hybrid/hybrid_provider.py"

EDITS = (
    Edit(
        name="gradient-accumulation-fusion",
        symbol="HybridModelProvider",
        why="The default is the model's; fit_to_host switches it off where the host lacks it, and the run config keeps it.",
        drop_when="upstream's default does not depend on the host.",
        do=ReplaceDefault("gradient_accumulation_fusion", "True"),
    ),
    Edit(
        name="import-dataclasses",
        symbol="",
        why="The edit above leaves `field` unused.",
        drop_when="the edit above is gone.",
        do=ReplaceImport("dataclasses", "from dataclasses import dataclass"),
    ),
    Edit(
        name="import-fusions",
        symbol="",
        why="The edit above leaves `fusions` unused.",
        drop_when="the edit above is gone.",
        do=ReplaceImport("megatron.bridge.utils", ""),
    ),
)
