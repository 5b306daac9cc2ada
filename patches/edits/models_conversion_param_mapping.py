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

"""Edits to upstream's models/conversion/param_mapping.py."""

from patches.engine import Edit, ReplaceTest


TARGET = "megatron/bridge/models/conversion/param_mapping.py"

EDITS = (
    Edit(
        name="replicated-without-cuda",
        symbol="ReplicatedMapping.hf_to_megatron",
        why="A host without CUDA has no current device, and gloo broadcasts from where the tensor is.",
        drop_when="upstream's mapping runs on a host without CUDA at TP > 1.",
        do=ReplaceTest(
            "target_device.index != torch.cuda.current_device()",
            "torch.cuda.is_available() and target_device.index != torch.cuda.current_device()",
        ),
    ),
)
