# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Reads what a checkpoint directory contains, and who has it locked.

Importing this module imports neither torch nor Megatron Core.
"""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from megatron.bridge.release.errors import (
    CorruptFileError,
    IterationDirError,
    MissingReleaseError,
    NotCheckpointDirError,
    NotRegularFileError,
    ReleaseNotDirectoryError,
    TwoReleasesError,
    one_line,
)
from megatron.bridge.release.layout import (
    ITERATION_FOLDER,
    LOCK,
    METADATA,
    RELEASE,
    REPLACED_PREFIX,
    RUN_CONFIG,
    STAGING_PREFIX,
    TRACKER,
    TRAIN_STATE_TRACKER,
    WRITTEN_BY_REPAIR,
    is_checkpoint_folder,
    tracked_directory,
)
from megatron.bridge.release.manifest import files_of


# Device, inode, and time of the last change.
DirectoryId = tuple[int, int, int]


@dataclass(frozen=True)
class CheckpointDir:
    """Contents of a checkpoint directory.

    Attributes:
        path: The checkpoint directory.
        tracker: Content of the tracker; None if there is no tracker.
        has_train_state: Whether Bridge's own tracker exists.
        checkpoints: Relative paths of the directories that contain a checkpoint, those nested in another one
            (``release/iter_0000001``) included.
        empty: Names of the iteration directories without a checkpoint.
        leftovers: Names of what an import that is running or was interrupted has written.
        lock_owner: Process that has it locked; None if no process has.
        replaced: Name of the leftover that contains the old release after an interrupted overwrite; else None.
    """

    path: Path
    tracker: str | None
    has_train_state: bool
    checkpoints: tuple[str, ...]
    empty: tuple[str, ...]
    leftovers: tuple[str, ...]
    lock_owner: str | None
    replaced: str | None

    @property
    def tracked(self) -> str | None:
        """Name of the iteration directory that the tracker refers to; None without a tracker.

        Raises:
            InvalidTrackerError: If the tracker contains anything else.
        """
        return None if self.tracker is None else tracked_directory(self.tracker, str(self.path / TRACKER))


def read_checkpoint_dir(path: Path) -> CheckpointDir:
    """Read what a checkpoint directory contains.

    Raises:
        ReleaseError: If it is not a checkpoint directory, or if a tracker is not a regular file.
        OSError: If it cannot be read.
    """
    if not path.is_dir():
        is_link = path.is_symlink() and not path.exists()
        raise NotCheckpointDirError(path, "dangling symlink" if is_link else "file" if path.exists() else "missing")
    tracker = path / TRACKER
    if (path / METADATA).exists() and not tracker.exists():
        raise IterationDirError(path, path.absolute().parent)
    for file in (tracker, path / TRAIN_STATE_TRACKER):
        if file.is_symlink() or (file.exists() and not file.is_file()):
            raise NotRegularFileError(file)
    if os.path.lexists(path / RELEASE) and not (path / RELEASE).is_dir():
        raise ReleaseNotDirectoryError(path / RELEASE)
    names = sorted(child.name for child in path.iterdir())
    folders = [name for name in names if is_checkpoint_folder(name) and (path / name).is_dir()]
    nested = [
        f"{name}/{child.name}"
        for name in folders
        for child in sorted((path / name).iterdir())
        if is_checkpoint_folder(child.name) and (child / METADATA).exists()
    ]
    replaced = list_leftovers(path, REPLACED_PREFIX)
    leftovers = [file for file in (path / LOCK,) if file.is_file() and not file.is_symlink()] + replaced
    leftovers += list_leftovers(path, STAGING_PREFIX)
    complete = [name for name in folders if (path / name / METADATA).exists()]
    return CheckpointDir(
        path,
        _read_start(tracker) if tracker.exists() else None,
        (path / TRAIN_STATE_TRACKER).exists(),
        tuple(complete + nested),
        tuple(name for name in folders if name not in complete),
        tuple(leftover.name for leftover in leftovers),
        find_lock_owner(path),
        next((old.name for old in replaced if RELEASE not in names and (old / RELEASE / METADATA).exists()), None),
    )


def _read_start(tracker: Path) -> str:
    # A valid tracker is a few bytes long. Anything longer is not read whole.
    with open(tracker, "rb") as file:
        return file.read(100).decode(errors="replace")


def trained_checkpoints(root: CheckpointDir) -> tuple[str, ...]:
    """Return the names of the iteration directories that a training has saved."""
    names = (*root.checkpoints, *root.empty)
    return tuple(name for name in names if (match := ITERATION_FOLDER.fullmatch(name)) and int(match[1]) > 0)


def find_import(root: CheckpointDir) -> str | None:
    """Return the path, in the checkpoint directory, of the import that ``repair`` converts to a release or completes.

    None if there is no checkpoint, if nothing selects one of several, or if training has continued.
    """
    tracker = (root.tracker or "").strip()
    if not root.checkpoints or trained_checkpoints(root) or (tracker.isdecimal() and int(tracker) > 0):
        return None
    first = RELEASE if RELEASE in root.checkpoints else root.checkpoints[0]
    others = [name for name in root.checkpoints if not is_linked_copy(root, name, first)]
    is_tracked = first == RELEASE == tracker
    return first if not others or (is_tracked and not any("/" in name for name in others)) else None


def is_linked_copy(root: CheckpointDir, name: str, kept: str) -> bool:
    """Return whether all files of a checkpoint are hard links of another one's, as an interrupted repair leaves them.

    Files that a repair writes do not count.
    """
    if name == kept:
        return True
    folder, kept_folder = root.path / name, root.path / kept
    return "/" not in name + kept and all(
        (kept_folder / file).exists() and (kept_folder / file).samefile(folder / file)
        for file in files_of(folder)
        if file not in WRITTEN_BY_REPAIR
    )


def checkpoint_dir_of(checkpoint: Path) -> Path:
    """Return the checkpoint directory of an iteration directory, which may be nested in another one.

    Args:
        checkpoint: Iteration directory, or the checkpoint directory itself.
    """
    directory = checkpoint.absolute()
    while is_checkpoint_folder(directory.name) and (directory / METADATA).exists():
        directory = directory.parent
    return directory


def directory_id(path: Path) -> DirectoryId | None:
    """Return values that differ between a directory and its replacement; None if it does not exist."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_ctime_ns


def find_lock_owner(root: Path) -> str | None:
    """Return the process that has a checkpoint directory locked, as it describes itself.

    Args:
        root: Checkpoint directory; it need not exist.

    Returns:
        The process; None if there is none, or if the filesystem does not support locks.
    """
    try:
        # O_NOFOLLOW refuses a symlink; O_NONBLOCK does not wait if the file is a pipe.
        descriptor = os.open(root / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.read(descriptor, 200).decode(errors="replace").strip() or "unknown process"
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return None


def list_leftovers(root: Path, prefix: str) -> list[Path]:
    """List the directories that publications have created in a checkpoint directory, sorted.

    Args:
        root: Checkpoint directory; it need not exist.
        prefix: `STAGING_PREFIX` or `REPLACED_PREFIX`.
    """
    return [path for path in sorted(root.glob(f"{prefix}*")) if path.is_dir() and not path.is_symlink()]


def find_release(root: Path, named: Path | None = None) -> Path:
    """Return the release that the checkpoints of a checkpoint directory were trained from.

    Args:
        root: Checkpoint directory.
        named: Checkpoint directory that the training started from, if it saved to another one.

    Returns:
        The release. Without ``named`` it need not exist.

    Raises:
        ReleaseError: If ``named`` contains no release, or if both contain one.
    """
    if named is None:
        return root / RELEASE
    release = named / RELEASE
    if not release.is_dir():
        raise MissingReleaseError(named, "named")
    if (root / RELEASE).is_dir() and not (root / RELEASE).samefile(release):
        raise TwoReleasesError(root)
    return release


def read_run_config(folder: Path) -> Any:
    """Read ``run_config.yaml`` as plain values.

    Args:
        folder: Iteration directory.

    Raises:
        CorruptFileError: If it is not valid YAML.
        OSError: If it cannot be read.
    """
    file = folder / RUN_CONFIG
    try:
        # The loader written in C, which not every build of PyYAML has, is twenty times as fast.
        return yaml.load(file.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise CorruptFileError(file, one_line(error)) from error


def nearest_existing(path: Path) -> Path:
    """Return a path, or the nearest of its parents that exists."""
    return next(existing for existing in (path, *path.absolute().parents) if existing.exists())
