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

"""Edits to upstream's training/utils/checkpoint_utils.py."""

from patches.engine import AddImport, AddParameter, Edit, ReplaceBody, ReplaceDocstring, ReplaceImport, ReplaceTest


TARGET = "megatron/bridge/training/utils/checkpoint_utils.py"

EDITS = (
    Edit(
        name="hf-model-id",
        symbol="get_hf_model_id_from_checkpoint",
        why="It looked for iter_* folders alone, and took the highest one where the tracker names another.",
        drop_when="upstream's function follows the tracker.",
        do=ReplaceBody(
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
            """
        ),
    ),
    Edit(
        name="hf-model-id-docstring",
        symbol="get_hf_model_id_from_checkpoint",
        why="It follows the tracker now.",
        drop_when="upstream's function follows the tracker.",
        do=ReplaceDocstring(
            """
            Tell the Hugging Face model that a checkpoint was made of. Not collective.

            Args:
                path: Checkpoint root, which stands for the checkpoint that its tracker names, or a checkpoint folder.

            Returns:
                The model's ID or folder; None where the checkpoint does not name it.

            Raises:
                FileNotFoundError: If there is nothing at the path, or if the tracker names a folder that is not there.
                NotADirectoryError: If the path is no folder.
                ValueError: If the tracker is torn, empty, or holds anything else.
            """
        ),
    ),
    Edit(
        name="run-config-broadcast",
        symbol="read_run_config",
        why="Who only looks at a checkpoint does so on one rank: a broadcast would wait for the others forever.",
        drop_when="upstream's read_run_config can be called on one rank.",
        do=AddParameter(
            "broadcast: bool = True",
            doc="broadcast: Whether rank 0 reads for every rank; else this rank does. Default is True.",
        ),
    ),
    Edit(
        name="run-config-local",
        symbol="read_run_config",
        why="Reads without the others where it is asked to.",
        drop_when="upstream's read_run_config can be called on one rank.",
        do=ReplaceTest("torch.distributed.is_initialized()", "broadcast and torch.distributed.is_initialized()"),
    ),
    Edit(
        name="import-maybe-msc",
        symbol="",
        why="Name used by the edit above.",
        drop_when="the edit above is gone.",
        do=AddImport("from megatron.core.msc_utils import maybe_msc"),
    ),
    Edit(
        name="import-posixpath",
        symbol="",
        why="The edit above leaves posixpath unused.",
        drop_when="the edit above is gone.",
        do=ReplaceImport("posixpath", ""),
    ),
)
