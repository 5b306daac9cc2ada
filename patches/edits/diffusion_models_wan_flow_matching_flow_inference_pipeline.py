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

"""Edits to upstream's diffusion/models/wan/flow_matching/flow_inference_pipeline.py."""

from patches.engine import AddImport, Edit, InsertStatements, ReplaceDocstring


TARGET = "megatron/bridge/diffusion/models/wan/flow_matching/flow_inference_pipeline.py"

EDITS = (
    Edit(
        name="resolve-folder",
        symbol="FlowInferencePipeline._select_checkpoint_dir",
        why="It took the highest iter_* folder where the tracker names another checkpoint.",
        drop_when="upstream's function follows the tracker.",
        do=InsertStatements(
            """
            folder = resolve_checkpoint_folder(base_dir)
            if is_checkpoint_iteration_directory(folder):
                return folder

            """,
            before_call="re.compile",
        ),
    ),
    Edit(
        name="resolve-folder-docstring",
        symbol="FlowInferencePipeline._select_checkpoint_dir",
        why="It follows the tracker now.",
        drop_when="upstream's function follows the tracker.",
        do=ReplaceDocstring(
            """
            Resolve checkpoint directory:
            - If checkpoint_step is provided, use base_dir/iter_{step:07d}
            - Otherwise, base_dir itself if it is a checkpoint folder, or the folder that its tracker names
            - Where there is no tracker, pick the largest iter_######## subdirectory under base_dir
            """
        ),
    ),
    Edit(
        name="import-checkpoint-root",
        symbol="",
        why="Name used by the edit above.",
        drop_when="the edit above is gone.",
        do=AddImport("from megatron.bridge.training.utils.checkpoint_root import resolve_checkpoint_folder"),
    ),
    Edit(
        name="import-checkpoint-utils",
        symbol="",
        why="Name used by the edit above.",
        drop_when="the edit above is gone.",
        do=AddImport("from megatron.bridge.training.utils.checkpoint_utils import is_checkpoint_iteration_directory"),
    ),
)
