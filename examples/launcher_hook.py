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

"""All that a framework's convert-and-fix script becomes: one hook, called before the workers start.

    command = before_training("meta-llama/Llama-3.2-1B", "ckpt")
    subprocess.run([*command, "--micro-batch-size", "1", ...], env=os.environ | {"PET_NPROC_PER_NODE": "8"}, check=True)

A run that was killed and starts again finds its own checkpoint, or the release, and converts nothing.
"""

import os
from pathlib import Path

from megatron.bridge import AutoBridge  # type: ignore[attr-defined,unused-ignore]
from megatron.bridge.release.source.provenance import require_source
from megatron.bridge.release.verify.launch_flags import launch_command, launch_flags
from megatron.bridge.training.utils.checkpoint_resolver import resolve_checkpoint_folder


def before_training(hf_model: str, root: str) -> list[str]:
    """Have a checkpoint that Megatron-LM starts from.

    Args:
        hf_model: Hugging Face model ID, or a model's folder.
        root: Checkpoint root.

    Returns:
        The command that starts Megatron-LM, in Megatron-LM's directory: with the flags of the model and of its
        tokenizer, it loads the newest checkpoint of the root and saves there.

    Raises:
        ValueError: If the root holds a checkpoint that Megatron-LM cannot start from so, or another model's.
    """
    if not (Path(root) / "latest_checkpointed_iteration.txt").exists():
        AutoBridge.import_ckpt(hf_model, root, release=True)
    folder = resolve_checkpoint_folder(root)  # A torn tracker is an error: Megatron-LM ends without one.
    require_source(root, hf_model)  # A folder that is used again may hold another model's.
    flags = launch_flags(Path(root), Path(folder), Path(root, "release")).flags
    return [*launch_command(flags), "--save", os.path.abspath(root)]
