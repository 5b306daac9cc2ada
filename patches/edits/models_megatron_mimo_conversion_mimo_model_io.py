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

"""Edits to upstream's models/megatron_mimo/conversion/mimo_model_io.py."""

from patches.engine import AddImport, Edit, ReplaceBody, ReplaceDocstring


TARGET = "megatron/bridge/models/megatron_mimo/conversion/mimo_model_io.py"

EDITS = (
    Edit(
        name="resolve-folder",
        symbol="_resolve_iter_folder",
        why="It took the highest iter_* folder where the tracker names another checkpoint.",
        drop_when="upstream's function follows the tracker.",
        do=ReplaceBody(
            """
            folder = resolve_checkpoint_folder(path)
            if not is_checkpoint_iteration_directory(folder):
                raise FileNotFoundError(f"{path} is neither a checkpoint root nor a checkpoint folder.")
            return Path(folder)
            """
        ),
    ),
    Edit(
        name="resolve-folder-docstring",
        symbol="_resolve_iter_folder",
        why="It follows the tracker now.",
        drop_when="upstream's function follows the tracker.",
        do=ReplaceDocstring("Resolve a checkpoint root, or a checkpoint folder, to the checkpoint folder."),
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
