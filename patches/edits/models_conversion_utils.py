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

"""Edits to upstream's models/conversion/utils.py."""

from patches.engine import AddImport, Edit, InsertStatements


TARGET = "megatron/bridge/models/conversion/utils.py"

EDITS = (
    Edit(
        name="native-despite-auto-map",
        symbol="get_causal_lm_class_name_via_auto_map",
        why="A Llama whose config names code of its own was refused, though transformers makes a Llama of it.",
        drop_when="upstream takes a model of a known architecture whose config has an auto_map.",
        do=InsertStatements(
            """
            if is_of_transformers(config):
                return None
            """,
            at="start",
        ),
    ),
    Edit(
        name="import-own-code",
        symbol="",
        why="Name used by the edit above.",
        drop_when="the edit above is gone.",
        do=AddImport("from megatron.bridge.models.conversion.own_code import is_of_transformers"),
    ),
)
