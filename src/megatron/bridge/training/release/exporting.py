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

"""Exports a checkpoint as a Hugging Face model, which appears in its folder when it is complete."""

import os
from pathlib import Path
from typing import Any

from megatron.bridge.training.release.saving import ending_on_sigterm
from megatron.bridge_release.folder_publication import FolderPublication


def export_checkpoint(bridge: Any, checkpoint: Path, out: Path, *, show_progress: bool = True) -> None:
    """Export a checkpoint.

    Args:
        bridge: The `AutoBridge` of the source model.
        checkpoint: Checkpoint folder.
        out: Folder to write; it need not exist, and may be empty, a mount point or a symlink.
        show_progress: Whether to show a progress bar.

    Raises:
        ValueError: If the folder is not empty.
        RuntimeError: If another process is writing into the folder.
        OSError: If a file cannot be written. Nothing of the export is in the folder then.
    """
    publication = FolderPublication(out)
    staging = publication.begin_empty()
    try:
        with ending_on_sigterm(f"nothing is published: {out} contains nothing of it. Export again."):
            bridge.export_ckpt(checkpoint, staging, show_progress=show_progress)
            _open_to_umask(staging)
            publication.commit()
    finally:
        publication.end()


def _open_to_umask(folder: Path) -> None:
    """Give files the mode of any new file: those of safetensors are readable by their owner alone."""
    mask = os.umask(0)
    os.umask(mask)
    for path in folder.rglob("*"):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)
