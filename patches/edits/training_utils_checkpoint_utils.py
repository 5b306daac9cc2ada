# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's training/utils/checkpoint_utils.py."""

from patches.edit import Edit
from patches.operations import AddParameter, ReplaceBody, ReplaceDocstring, ReplaceExpression


TARGET = "megatron/bridge/training/utils/checkpoint_utils.py"

EDITS = (
    Edit(
        name="hf-model-id",
        symbol="get_hf_model_id_from_checkpoint",
        why="It looked for iter_* folders alone, and took the highest one where the tracker names another.",
        drop_when="upstream's function follows the tracker.",
        do=(
            ReplaceBody(
                """
                # checkpoint_root imports this module.
                from megatron.bridge.training.utils.checkpoint_root import resolve_run_config_folder

                root = maybe_msc.Path(str(path))
                if not root.exists():
                    raise FileNotFoundError(f"There is no checkpoint at {root}.")
                if not root.is_dir():
                    raise NotADirectoryError(f"{root} is a file; give the checkpoint root or a checkpoint folder.")

                run_config_filename = get_checkpoint_run_config_filename(resolve_run_config_folder(str(path)))
                if not file_exists(run_config_filename):
                    return None
                run_config = read_run_config(run_config_filename, broadcast=False)
                model = run_config.get("model") if isinstance(run_config, dict) else None
                hf_model_id = model.get("hf_model_id") if isinstance(model, dict) else None
                return str(hf_model_id) if hf_model_id else None
                """,
                was="61e260f70db4",
            ),
            ReplaceDocstring(
                """
                Return the Hugging Face model that a checkpoint was made of. Not collective.

                Args:
                    path: Checkpoint root, which stands for the checkpoint that its tracker names, or a checkpoint folder.

                Returns:
                    The model's ID or folder; None where the checkpoint does not name it.

                Raises:
                    FileNotFoundError: If there is nothing at the path, or if the tracker names a folder that is not there.
                    NotADirectoryError: If the path is no folder.
                    ValueError: If the tracker is torn, empty, or holds anything else.
                """,
                was="f67978ad155c",
            ),
        ),
        imports=("from megatron.core.msc_utils import maybe_msc",),
        unused=("posixpath",),
    ),
    Edit(
        name="run-config-locally",
        symbol="read_run_config",
        why="Who only looks at a checkpoint does so on one rank: a broadcast would wait for the others forever.",
        drop_when="upstream's read_run_config can be called on one rank.",
        do=(
            AddParameter(
                "broadcast: bool = True",
                doc="broadcast: Whether rank 0 reads for every rank; else this rank does. Default is True.",
            ),
            ReplaceExpression("torch.distributed.is_initialized()", "broadcast and __old__"),
        ),
    ),
)
