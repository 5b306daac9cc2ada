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

"""Reads what a checkpoint root holds, and who is writing into it.

Importing this module imports neither torch nor Megatron Core.
"""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from megatron.bridge.release.layout import (
    LOCK,
    METADATA,
    RELEASE,
    REPLACED_PREFIX,
    STAGING_PREFIX,
    TRACKER,
    TRAIN_STATE_TRACKER,
    is_checkpoint_folder,
)


@dataclass(frozen=True)
class CheckpointDir:
    """What is in a checkpoint root.

    Attributes:
        path: The root.
        tracker: Text of the tracker; None where there is none.
        has_train_state: Whether Bridge's own tracker is there.
        checkpoints: Checkpoint folders with a checkpoint in them, by their paths in the root, those of them that a
            second run has nested in another (``release/iter_0000001``) too.
        empty: Checkpoint folders without one.
        leftovers: What an import wrote that is still at work, or died.
        writer: Who is writing into it now, in words; None where nobody has it locked.
        replaced: Name of the leftover that holds the old release after an overwrite was cut short; else None.
    """

    path: Path
    tracker: str | None
    has_train_state: bool
    checkpoints: tuple[str, ...]
    empty: tuple[str, ...]
    leftovers: tuple[str, ...]
    writer: str | None
    replaced: str | None


def read_checkpoint_dir(path: Path) -> CheckpointDir:
    """Look at what is in a checkpoint root.

    Args:
        path: Checkpoint root.

    Returns:
        What is in it.

    Raises:
        ValueError: If it is no folder, or a checkpoint folder itself, or if a tracker is no file.
        OSError: If it cannot be read.
    """
    if not path.is_dir():
        there = "is a file" if path.exists() else "is a dangling link" if path.is_symlink() else "does not exist"
        raise ValueError(f"{path} {there}. Pass the checkpoint directory, which contains {TRACKER}.")
    tracker = path / TRACKER
    if (path / METADATA).exists() and not tracker.exists():
        raise ValueError(f"{path} is an iteration directory. Pass the checkpoint directory: {path.absolute().parent}")
    for file in (tracker, path / TRAIN_STATE_TRACKER):
        if file.is_symlink() or (file.exists() and not file.is_file()):
            raise ValueError(f"{file} is a link, or no file: it is not followed. Put the file itself there.")
    names = sorted(child.name for child in path.iterdir())
    folders = [name for name in names if is_checkpoint_folder(name) and (path / name).is_dir()]
    nested = [
        f"{name}/{child.name}"
        for name in folders
        for child in sorted((path / name).iterdir())
        if is_checkpoint_folder(child.name) and (child / METADATA).exists()
    ]
    replaced = list_leftovers(path, REPLACED_PREFIX)
    leftovers = [file for file in (path / LOCK,) if file.name in names] + replaced + list_leftovers(path, STAGING_PREFIX)
    whole = [name for name in folders if (path / name / METADATA).exists()]
    return CheckpointDir(
        path,
        _beginning(tracker) if tracker.exists() else None,
        (path / TRAIN_STATE_TRACKER).exists(),
        tuple(whole + nested),
        tuple(name for name in folders if name not in whole),
        tuple(left.name for left in leftovers),
        find_lock_owner(path),
        next((left.name for left in replaced if RELEASE not in names and (left / RELEASE / METADATA).exists()), None),
    )


def checkpoint_dir_of(checkpoint: Path) -> Path:
    """Return the checkpoint directory of a checkpoint folder, which may be nested in another.

    Args:
        checkpoint: Checkpoint folder, or the checkpoint directory itself.
    """
    directory = checkpoint.absolute()
    while is_checkpoint_folder(directory.name) and (directory / METADATA).exists():
        directory = directory.parent
    return directory


def find_lock_owner(root: Path) -> str | None:
    """Return who is writing into a root.

    Args:
        root: Checkpoint root; it need not exist.

    Returns:
        The one who has the lock, as it names itself; None where nobody has it, or where the filesystem has no locks.
    """
    try:
        # Not through a link; and a pipe would wait for its other end.
        descriptor = os.open(root / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.read(descriptor, 200).decode(errors="replace").strip() or "no more is known of it"
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return None


def CheckpointDirBusyError(root: Path, writer: str) -> str:
    """Return the message that a root has a writer, with what to do."""
    return f"Another process is writing into {root} ({writer}). Wait for it to end, or give another folder."


def list_leftovers(root: Path, prefix: str) -> list[Path]:
    """List the folders that publications have in a root; a link or a file of such a name is no publication's.

    Args:
        root: Checkpoint root; it need not exist.
        prefix: What their names begin with, `STAGING_PREFIX` or `REPLACED_PREFIX`.

    Returns:
        Their paths, sorted.
    """
    return [path for path in sorted(root.glob(f"{prefix}*")) if path.is_dir() and not path.is_symlink()]


def _beginning(tracker: Path) -> str:
    # A tracker has a word in it; whatever else is there need not be read whole.
    with open(tracker, "rb") as file:
        return file.read(100).decode(errors="replace")


def nearest(root: Path) -> Path:
    """Return the root, or the nearest of the folders above it that is there."""
    return next(path for path in (root, *root.absolute().parents) if path.exists())
