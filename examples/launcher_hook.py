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

    flags = before_training("meta-llama/Llama-3.2-1B", "ckpt")
    subprocess.run(["torchrun", "--nproc-per-node", "8", "pretrain_gpt.py", *flags, ...], check=True)

A run that was killed and starts again finds its own checkpoint, or the release, and converts nothing.
"""

from pathlib import Path

from megatron.bridge import AutoBridge
from megatron.bridge.training.utils.checkpoint_root import resolve_checkpoint_folder
from megatron.bridge_release.layout import FLAGS_FILE
from megatron.bridge_release.source import require_source


def before_training(hf_model: str, root: str) -> list[str]:
    """Have a checkpoint that Megatron-LM starts from.

    Args:
        hf_model: Hugging Face model ID, or a model's folder.
        root: Checkpoint root.

    Returns:
        Megatron-LM's flags: the model's, its tokenizer's, and those that load the newest checkpoint of the root.

    Raises:
        ValueError: If the root holds a checkpoint that Megatron-LM cannot start from so, or another model's.
    """
    folder = Path(root) / "release"
    if not (Path(root) / "latest_checkpointed_iteration.txt").exists():
        AutoBridge.import_ckpt(hf_model, root, release=True)
    resolve_checkpoint_folder(root)  # A torn tracker is an error: Megatron-LM ends without one.
    if not (folder / FLAGS_FILE).exists():
        raise ValueError(f"{root} holds a checkpoint and no release with its flags. Give another folder.")
    require_source(root, hf_model)  # A folder that is used again may hold another model's.
    flags = (folder / FLAGS_FILE).read_text().split()
    flags += ["--tokenizer-type", "HuggingFaceTokenizer", "--tokenizer-model", str(folder / "tokenizer")]
    return [*flags, "--load", root, "--save", root, "--exit-on-missing-checkpoint"]
