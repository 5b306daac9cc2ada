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

"""A hook for a launcher: call it once before the workers start.

    command = before_training("meta-llama/Llama-3.2-1B", "ckpt")
    subprocess.run([*command, "--micro-batch-size", "1", ...], env=os.environ | {"PET_NPROC_PER_NODE": "8"}, check=True)

A restarted run resumes from its own checkpoint, or from the release, and does not import again.
"""

import os
from pathlib import Path

from megatron.bridge import AutoBridge  # type: ignore[attr-defined,unused-ignore]
from megatron.bridge.release.source.provenance import require_source
from megatron.bridge.release.verify.launch import launch_command, launch_flags
from megatron.bridge.training.utils.checkpoint_resolver import resolve_checkpoint_folder


def before_training(hf_model: str, checkpoint_dir: str) -> list[str]:
    """Import the model if the checkpoint directory is empty, and return the command that starts Megatron-LM.

    Args:
        hf_model: Hugging Face model ID, or local directory of a model.
        checkpoint_dir: Checkpoint directory.

    Returns:
        The command, for Megatron-LM's directory. It has the flags of the model and its tokenizer, loads the latest
        checkpoint and saves to the same directory.

    Raises:
        ValueError: If no flags can express the checkpoint, or if it was imported from another model.
    """
    if not (Path(checkpoint_dir) / "latest_checkpointed_iteration.txt").exists():
        AutoBridge.import_ckpt(hf_model, checkpoint_dir, release=True)
    folder = resolve_checkpoint_folder(checkpoint_dir)  # Fails if the tracker is incomplete.
    require_source(checkpoint_dir, hf_model)  # A reused directory may contain another model.
    flags = launch_flags(Path(checkpoint_dir), Path(folder), Path(checkpoint_dir, "release")).flags
    return [*launch_command(flags), "--save", os.path.abspath(checkpoint_dir)]
