# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's diffusion/models/wan/flow_matching/flow_inference_pipeline.py."""

from patches.edit import Edit
from patches.operations import InsertStatements, ReplaceDocstring


TARGET = "megatron/bridge/diffusion/models/wan/flow_matching/flow_inference_pipeline.py"

EDITS = (
    Edit(
        name="resolve-folder",
        symbol="FlowInferencePipeline._select_checkpoint_dir",
        why="It took the highest iter_* folder where the tracker names another checkpoint.",
        drop_when="upstream's function follows the tracker.",
        do=(
            InsertStatements(
                """
                folder = resolve_checkpoint_folder(base_dir)
                if is_checkpoint_iteration_directory(folder):
                    return folder

                """,
                before_call="re.compile",
            ),
            ReplaceDocstring(
                """
                Resolve checkpoint directory:
                - If checkpoint_step is provided, use base_dir/iter_{step:07d}
                - Otherwise, base_dir itself if it is a checkpoint folder, or the folder that its tracker names
                - Where there is no tracker, pick the largest iter_######## subdirectory under base_dir
                """,
                was="32903338c577",
            ),
        ),
        imports=(
            "from megatron.bridge.training.utils.checkpoint_resolver import resolve_checkpoint_folder",
            "from megatron.bridge.training.utils.checkpoint_utils import is_checkpoint_iteration_directory",
        ),
    ),
)
