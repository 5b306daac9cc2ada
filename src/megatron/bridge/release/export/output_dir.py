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

"""The folder that an export writes: what is in it, and what a killed export left there.

The files are written into a staging folder inside it, which works for a mount point and through a symlink, and moved
out of it when they are complete. The file that makes the model readable is moved last.

Importing this module imports neither torch nor Megatron Core.
"""

import json
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from megatron.bridge.release.checkpoint_dir import checkpoint_dir_of, list_leftovers, nearest
from megatron.bridge.release.layout import LOCK, METADATA, STAGING_PREFIX, is_checkpoint_folder
from megatron.bridge.release.source.model_dir import check_outside


# Without it, neither transformers nor an inference engine takes the folder for a model.
LAST = "config.json"
# In a staging folder: the names of the files that are moved out of it, as JSON.
MOVED = ".moved.json"

_UNITS = {"": 1, "B": 1} | {
    unit: base**power
    for base, infix in ((1000, ""), (1024, "I"))
    for power, unit in enumerate((f"{letter}{infix}B" for letter in "KMGT"), 1)
}


def file_size(size: int | str) -> int:
    """Return the size of a file in bytes, such as ``5GB`` or ``500MiB``.

    Raises:
        ValueError: If it is not a size, or less than a byte.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)", str(size).strip())
    value = int(float(match[1]) * _UNITS.get(match[2].upper(), 0)) if match else 0
    if not value:
        raise ValueError(f"{size!r} is not the size of a file. Give a number of bytes, or one such as 5GB or 500MiB.")
    return value


def interrupted_files(folder: Path) -> list[Path]:
    """List the files that killed exports moved into a folder without completing the model.

    Args:
        folder: Folder of the export; it need not exist.

    Returns:
        Their paths, those of folders too.
    """
    if (folder / LAST).exists():
        return []
    paths = {
        folder / name
        for staging in list_leftovers(folder, STAGING_PREFIX)
        for name in _moved(staging)
        if (folder / name).exists() and _is_moved(staging / name, folder / name)
    }
    return sorted(paths)


def _is_moved(staged: Path, path: Path) -> bool:
    """Return whether a path in the folder is the export's, not another program's of the same name."""
    if not staged.exists():
        return True
    # Power lost during a rename may leave both names of a file.
    if staged.is_file():
        return path.samefile(staged)
    return path.is_dir() and all(
        (staged / child.name).exists() and child.samefile(staged / child.name) for child in path.iterdir()
    )


def check_one_process() -> None:
    """Check that no other process takes part in an export. Raise ValueError."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("An export runs in one process. Start it without torchrun.")


def check_location(folder: Path, checkpoints: Iterable[Path], model: Path | None) -> None:
    """Check that an export is written neither into a checkpoint nor into the source model.

    Args:
        folder: Folder of the export; it need not exist.
        checkpoints: Checkpoint directories, or checkpoint folders in them.
        model: Folder of the source model; None if it has none on this host.

    Raises:
        ValueError: If the folder is in one of them, or has the name of a checkpoint folder in a checkpoint directory.
    """
    # As it is named, and where a symlink of that name leads.
    paths = (folder.absolute().parent.resolve() / folder.name, folder.resolve())
    for checkpoint in checkpoints:
        for directory in (checkpoint_dir_of(checkpoint).resolve(), checkpoint_dir_of(checkpoint.resolve())):
            for path in paths:
                _check_outside_checkpoints(folder, path, directory)
    if model is not None:
        check_outside(folder, model)


def _check_outside_checkpoints(folder: Path, path: Path, directory: Path) -> None:
    if not path.is_relative_to(directory):
        return
    names = path.relative_to(directory).parts
    if names and is_checkpoint_folder(names[0]):
        if len(names) == 1:
            raise ValueError(
                f"The output path {folder} has the name of a checkpoint folder in {directory}. Use another output path."
            )
        directory /= names[0]
    elif not (directory / METADATA).exists():
        return
    raise ValueError(f"The output path {folder} is inside the checkpoint {directory}. Use another output path.")


def check_empty(folder: Path) -> None:
    """Check that a folder contains nothing, except what a killed export left.

    Args:
        folder: Folder of the export; it need not exist.

    Raises:
        ValueError: If it contains anything else.
    """
    if not folder.is_dir():
        return
    own = {folder / LOCK, *list_leftovers(folder, STAGING_PREFIX), *interrupted_files(folder)}
    if found := sorted(path.name for path in folder.iterdir() if path not in own):
        shown = ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
        raise ValueError(f"The output folder {folder} is not empty: {shown}. Give a new or an empty folder.")


def check_free_space(folder: Path, needed: int) -> None:
    """Check that the filesystem of a folder has room for an export.

    Args:
        folder: Folder of the export; it need not exist.
        needed: Size of the export, in bytes.

    Raises:
        ValueError: If fewer bytes are free.
    """
    free = shutil.disk_usage(nearest(folder)).free
    if free < needed:
        raise ValueError(
            f"Not enough disk space for {folder}: {tqdm.format_sizeof(free, 'B')} are free, the export needs "
            f"{tqdm.format_sizeof(needed, 'B')}. Free some space or give a folder on another disk."
        )


def _moved(staging: Path) -> list[str]:
    try:
        names = json.loads((staging / MOVED).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        # It was killed before it moved anything.
        return []
    # Only names in the folder itself: anything else was not written by an export.
    is_list = isinstance(names, list)
    return (
        [name for name in names if isinstance(name, str) and name not in ("", ".", "..") and "/" not in name]
        if is_list
        else []
    )
