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


"""Edits to upstream's models/conversion/model_bridge.py."""

from patches.engine import AddImport, Edit, InsertStatements, ReplaceCall


TARGET = "megatron/bridge/models/conversion/model_bridge.py"

EDITS = (
    Edit(
        name="warn-without-source",
        symbol="MegatronModelBridge.load_weights_hf_to_megatron",
        why="A parameter without a source keeps whatever its memory held. A log line for each was all that told of it.",
        drop_when="upstream refuses or lists parameters without a source.",
        do=InsertStatements(
            "warn_without_source(self, unwrapped_model_list, hf_to_megatron_tasks)",
            after_call="self.build_conversion_tasks",
        ),
    ),
    Edit(
        name="keys-as-a-set",
        symbol="MegatronModelBridge.build_conversion_tasks",
        why="Each parameter's tensors are looked for among all names: in a list, the time is the square of their number.",
        drop_when="upstream looks them up in a set.",
        do=ReplaceCall("hf_pretrained.state.source.get_all_keys", "set(__call__)"),
    ),
    Edit(
        name="import-sources",
        symbol="",
        why="Name used by the edit above.",
        drop_when="the edit above is gone.",
        do=AddImport("from megatron.bridge.models.conversion.sources import warn_without_source"),
    ),
)
