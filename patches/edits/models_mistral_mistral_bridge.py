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


"""Edits to upstream's models/mistral/mistral_bridge.py."""

from patches.engine import Edit, PassArgument


TARGET = "megatron/bridge/models/mistral/mistral_bridge.py"

EDITS = (
    Edit(
        name="attention-dropout",
        symbol="MistralBridge.provider_bridge",
        why="The config's dropout was lost, as this bridge alone does not take its fields from the common mapping.",
        drop_when="upstream's bridge takes it from the config.",
        do=PassArgument("cls", "attention_dropout=hf_config.attention_dropout"),
    ),
)
