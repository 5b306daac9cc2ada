# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's models/megatron_mimo/conversion/mimo_model_io.py."""

from patches.edit import Edit
from patches.operations import ReplaceBody, ReplaceDocstring


TARGET = "megatron/bridge/models/megatron_mimo/conversion/mimo_model_io.py"

EDITS = (
    Edit(
        name="resolve-folder",
        symbol="_resolve_iter_folder",
        why="It took the highest iter_* folder where the tracker names another checkpoint.",
        drop_when="upstream's function follows the tracker.",
        do=(
            ReplaceBody(
                """
                folder = resolve_checkpoint_folder(path)
                if not is_checkpoint_iteration_directory(folder):
                    raise FileNotFoundError(f"{path} is neither a checkpoint root nor a checkpoint folder.")
                return Path(folder)
                """,
                was="321cebfde9c1",
            ),
            ReplaceDocstring(
                "Resolve a checkpoint root, or a checkpoint folder, to the checkpoint folder.", was="3346b6a31b95"
            ),
        ),
        imports=(
            "from megatron.bridge.training.utils.checkpoint_resolver import resolve_checkpoint_folder",
            "from megatron.bridge.training.utils.checkpoint_utils import is_checkpoint_iteration_directory",
        ),
    ),
)
