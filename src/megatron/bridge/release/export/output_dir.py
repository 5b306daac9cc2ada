# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The output directory of an export: its contents, and the remains of killed exports in it.

An export writes into a staging directory inside it, which works for mount points and symlinks, and then moves the files
out. The file without which no reader finds a model is moved last.

Importing this module imports neither torch nor Megatron Core.
"""

import json
import math
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from megatron.bridge.release.checkpoint_dir import checkpoint_dir_of, list_leftovers, nearest_existing
from megatron.bridge.release.export.errors import (
    DiskSpaceError,
    FileSizeError,
    OutputInCheckpointError,
    OutputNotEmptyError,
    SeveralProcessesError,
)
from megatron.bridge.release.layout import LOCK, METADATA, STAGING_PREFIX, is_checkpoint_folder
from megatron.bridge.release.source.model_dir import check_outside


# Without this file, neither transformers nor an inference engine finds a model.
LAST = "config.json"
# File in a staging directory: JSON list of the files that are moved out of it.
MOVED = ".moved.json"

_UNITS = {"": 1, "B": 1} | {
    unit: base**power
    for base, infix in ((1000, ""), (1024, "I"))
    for power, unit in enumerate((f"{letter}{infix}B" for letter in "KMGT"), 1)
}


def file_size(size: int | str) -> int:
    """Return the number of bytes of a size such as ``5GB`` or ``500MiB``.

    Raises:
        FileSizeError: If it is not a size, or less than a byte.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)", str(size).strip())
    value = float(match[1]) * _UNITS.get(match[2].upper(), 0) if match else 0
    if not 1 <= value < math.inf:
        raise FileSizeError(str(size))
    return int(value)


def interrupted_files(folder: Path) -> list[Path]:
    """Return the files and directories that killed exports moved into the output directory, which need not exist."""
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
    """Return whether an export moved a file to a path; else another program made it."""
    if not staged.exists():
        return True
    # A power failure during a rename may leave both names of the file.
    if staged.is_file():
        return path.samefile(staged)
    return path.is_dir() and all(
        (staged / child.name).exists() and child.samefile(staged / child.name) for child in path.iterdir()
    )


def check_one_process() -> None:
    """Raise `SeveralProcessesError` if this process was started by torchrun with others."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise SeveralProcessesError


def check_location(folder: Path, checkpoints: Iterable[Path], model: Path | None) -> None:
    """Check that the output directory is neither in a checkpoint nor in the source model.

    Args:
        folder: The output directory; it need not exist.
        checkpoints: Checkpoint directories, or iteration directories in them.
        model: Directory of the source model, if it is on this host.

    Raises:
        OutputInCheckpointError: If it is in a checkpoint, or has the name of an iteration directory in a checkpoint
            directory.
        ValueError: If it is in the source model.
    """
    # The path itself, and the target if it is a symlink.
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
            raise OutputInCheckpointError(folder, directory, True)
        directory /= names[0]
    elif not (directory / METADATA).exists():
        return
    raise OutputInCheckpointError(folder, directory, False)


def check_empty(folder: Path) -> None:
    """Check that the output directory, if it exists, contains only the remains of killed exports.

    Raises:
        OutputNotEmptyError: If it contains anything else.
    """
    if not folder.is_dir():
        return
    remains = {folder / LOCK, *list_leftovers(folder, STAGING_PREFIX), *interrupted_files(folder)}
    if found := sorted(path.name for path in folder.iterdir() if path not in remains):
        raise OutputNotEmptyError(folder, tuple(found))


def check_free_space(folder: Path, needed: int) -> None:
    """Check that a filesystem has the needed number of bytes free for a directory, which need not exist.

    Raises:
        DiskSpaceError: If it has not.
    """
    free = shutil.disk_usage(nearest_existing(folder)).free
    if free < needed:
        raise DiskSpaceError(folder, free, needed)


def _moved(staging: Path) -> list[str]:
    try:
        names = json.loads((staging / MOVED).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        # The export was killed before it moved anything.
        return []
    if not isinstance(names, list):
        return []
    # An export lists names in the output directory only.
    return [name for name in names if isinstance(name, str) and name not in ("", ".", "..") and "/" not in name]
