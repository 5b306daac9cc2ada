# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Publishes a release: a reader finds the old checkpoint or the complete new one, at whatever point a process stops.

A release is written into a staging directory in the checkpoint directory, and so on the same filesystem. To publish it,
its files are synced, it is renamed to ``release``, and the trackers are moved, the text tracker last. Each step is synced
before the next one. If a release is replaced, the two exchange their names atomically (``RENAME_EXCHANGE``). NFS does not
support that: there, a crash between two renames leaves the old release under another name, and the next run restores it.

One process at a time writes to a checkpoint directory. It has a lock, which the kernel releases when the process ends,
and removes the leftovers of interrupted runs.
"""

import errno
import logging
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable

from megatron.bridge.release.checkpoint_dir import find_lock_owner, list_leftovers
from megatron.bridge.release.errors import CheckpointDirBusyError
from megatron.bridge.release.layout import LOCK, RELEASE, REPLACED_PREFIX, STAGING_PREFIX
from megatron.bridge.release.manifest import files_of
from megatron.bridge.release.write.errors import HardLinkError, LockFileError, LockKind, MountPointError, OverlayError
from megatron.bridge.release.write.filesystem import Filesystem, filesystem_type, mounts
from megatron.bridge.training.utils.checkpoint_resolver import checkpoint_folders
from megatron.bridge.training.utils.checkpoint_utils import (
    TRACKER_PREFIX,
    get_checkpoint_tracker_filename,
    get_checkpoint_train_state_filename,
)


logger = logging.getLogger(__name__)

# Marks a staging directory whose checkpoint directory had neither checkpoints nor trackers.
_FIRST = "first"

_OVERLAY = "overlay"

# Seconds after which a locked file counts as another writer; readers that probe the lock have it for a moment.
_LOCK_SECONDS = 1.0

_NOT_SUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)


class Publication:
    """The publication of a release, by rank 0.

    Args:
        root: Checkpoint directory; it need not exist.
        filesystem: Filesystem operations.
    """

    def __init__(self, root: Path, filesystem: Filesystem = Filesystem()) -> None:
        self._root, self._filesystem = root, filesystem
        self._folder = root / RELEASE
        self._own_folders: list[Path] = []
        self._lock: int | None = None
        self._new: list[Path] = []

    def begin(self, check: Callable[[], None] = lambda: None) -> Path:
        """Lock the checkpoint directory, remove leftovers of interrupted runs, and create the staging directory.

        Args:
            check: Called under the lock, when no other process changes the directory; raises if nothing may be published.

        Returns:
            The staging directory, which is laid out as a checkpoint directory.

        Raises:
            MountPointError: If the checkpoint is a mount point.
            OverlayError: If the filesystem cannot rename the directories.
            RuntimeError: If another process is writing to the checkpoint directory.
            OSError: If an operation fails.
        """
        self._new = [path for path in (self._root, *self._root.absolute().parents) if not path.exists()]
        try:
            for folder in reversed(self._new):
                self._filesystem.make_folder(folder)
                self._filesystem.sync(folder.absolute().parent)
            self._acquire_lock()
            if self._lock is not None:
                self._recover()
            check()
            self._own_folders.append(self._filesystem.make_own_folder(self._root, STAGING_PREFIX))
            self._mark(self._own_folders[0])
            self.require_movable(self._folder if self._folder.exists() else self._own_folders[0])
        except BaseException:
            self.end()
            raise
        return self._own_folders[0]

    def require_movable(self, folder: Path) -> None:
        """Check that a directory in the checkpoint directory can be renamed, before the work.

        Raises:
            MountPointError: If it is a mount point.
            OverlayError: If it is in a lower layer of an overlay filesystem, such as a container's image.
        """
        if folder.resolve() in mounts():
            raise MountPointError(folder, self._root)
        if filesystem_type(folder.parent) != _OVERLAY:
            return
        # Renaming it over a non-empty directory always fails; the error shows whether another rename would.
        full = self._filesystem.make_own_folder(self._root, STAGING_PREFIX)
        try:
            self._filesystem.make_folder(full / "full")
            self._filesystem.rename(folder, full)
        except OSError as error:
            if error.errno == errno.EXDEV:
                raise OverlayError(folder) from error
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        finally:
            self._filesystem.remove(full)

    def commit(self) -> None:
        """Publish the content of the staging directory.

        Raises:
            OSError: If an operation fails. The checkpoint directory then has its previous checkpoint, or, if its tracker
                named a checkpoint of another name, possibly the new one.
        """
        staging = self._own_folders[0]
        self._sync_all(staging)
        old, had = _identity(self._folder), [tracker for tracker in _trackers(self._root) if tracker.exists()]
        try:
            self._move_folder(staging, old)
            # Sync the staging directory first, so that a crash cannot leave both names.
            self._filesystem.sync(staging)
            self._filesystem.sync(self._root)
            for tracker in _trackers(self._root):
                self._filesystem.rename(staging / tracker.name, tracker)
                self._filesystem.sync(self._root)
        except BaseException:
            if not self._try(f"restore {self._root}", self._take_back, staging, old, had):
                self._own_folders = []
            raise
        logger.info("Published the checkpoint %s", self._folder)

    def _sync_all(self, folder: Path) -> None:
        for directory, _, files in os.walk(folder, topdown=False):
            for name in files:
                self._filesystem.sync(Path(directory, name))
            self._filesystem.sync(Path(directory))

    def link(self, source: Path) -> Path:
        """Create the checkpoint in the staging directory from hard links to the files of another one.

        Raises:
            HardLinkError: If a file cannot be linked.
            OSError: If another operation fails.
        """
        target = self._own_folders[0] / RELEASE
        self._filesystem.make_folder(target)
        made = {Path(".")}
        for name in map(Path, files_of(source)):
            for parent in reversed(name.parents):
                if parent not in made:
                    self._filesystem.make_folder(target / parent)
                    made.add(parent)
            try:
                self._filesystem.link(source / name, target / name)
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EXDEV):
                    raise
                raise HardLinkError(source / name, str(error.strerror)) from error
        return target

    def move_tracker(self) -> None:
        """Publish the text tracker before the checkpoint that it names."""
        tracker = _trackers(self._root)[1]
        self._filesystem.sync(self._own_folders[0] / tracker.name)
        self._filesystem.rename(self._own_folders[0] / tracker.name, tracker)
        self._filesystem.sync(self._root)

    def retire(self, name: str) -> None:
        """Remove a checkpoint from the checkpoint directory: rename it into the staging directory, which is removed later."""
        folder = self._root / name
        self._filesystem.rename(folder, self._own_folders[0] / f"retired-{folder.name}")
        self._filesystem.sync(folder.parent)

    def end(self) -> None:
        """Remove the temporary directories and release the lock. Errors are only logged, so that they hide no other error."""
        try:
            for folder in self._own_folders:
                self._try(f"remove {folder}", self._filesystem.remove, folder)
        finally:
            # After Ctrl-C during the removal, the next import removes them, possibly in this process.
            self._own_folders = []
            if self._lock is not None:
                self._try(f"remove {self._root / LOCK}", self._filesystem.unlink, self._root / LOCK)
                os.close(self._lock)
                self._lock = None
        for folder in self._new:
            # Remove directories that this run created if they are still empty.
            with suppress(OSError):
                folder.rmdir()
        self._new = []

    def _acquire_lock(self) -> None:
        file = self._root / LOCK
        if file.is_symlink() or (file.exists() and not file.is_file()):
            kind: LockKind = "a symlink" if file.is_symlink() else "a directory" if file.is_dir() else "a special file"
            raise LockFileError(file, kind)
        try:
            self._lock = self._lock_patiently(file)
        except BlockingIOError:
            writer = find_lock_owner(self._root) or "it has just finished"
            raise CheckpointDirBusyError(self._root, writer) from None
        except OSError as error:
            if error.errno not in _NOT_SUPPORTED:
                raise
            # Leftovers may belong to a running process, so they are not removed.
            logger.warning("File locks are not supported in %s; make sure no other import writes there", self._root)
            return
        os.truncate(self._lock, 0)
        os.write(self._lock, f"process {os.getpid()} on {socket.gethostname()}\n".encode())

    def _mark(self, staging: Path) -> None:
        """Record in the staging directory what recovery needs to know about the checkpoint directory."""
        if not checkpoint_folders(str(self._root)) and not any(map(Path.exists, _trackers(self._root))):
            self._filesystem.make_folder(staging / _FIRST)

    def _lock_patiently(self, file: Path) -> int:
        """Lock a file, and wait while `find_lock_owner` probes it."""
        deadline = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                return self._filesystem.lock(file)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(_LOCK_SECONDS / 100)

    def _recover(self) -> None:
        """Remove the leftovers of processes that died while they wrote to the checkpoint directory."""
        train_state, tracker = _trackers(self._root)
        for replaced in list_leftovers(self._root, REPLACED_PREFIX):
            if (replaced / RELEASE).exists() and not self._folder.exists():
                # It died between the two renames on a filesystem that cannot exchange names.
                self._filesystem.rename(replaced / RELEASE, self._folder)
                self._filesystem.sync(self._root)
            self._filesystem.remove(replaced)
        for staging in list_leftovers(self._root, STAGING_PREFIX):
            moved = (staging / tracker.name).exists() and not (staging / RELEASE).exists()
            if (staging / _FIRST).exists() and moved and not tracker.exists() and self._folder.exists():
                # It died between the checkpoint and the text tracker. Without a tracker, no reader has seen it.
                if train_state.exists():
                    self._filesystem.unlink(train_state)
                self._filesystem.rename(self._folder, staging / RELEASE)
                self._filesystem.sync(self._root)
            self._filesystem.remove(staging)

    def _move_folder(self, staging: Path, old: int | None) -> None:
        if old is None:
            self._filesystem.rename(staging / RELEASE, self._folder)
            return
        try:
            self._filesystem.exchange(staging / RELEASE, self._folder)
        except OSError as error:
            if error.errno not in _NOT_SUPPORTED:
                raise
            replaced = self._filesystem.make_own_folder(self._root, REPLACED_PREFIX)
            self._own_folders.append(replaced)
            self._filesystem.rename(self._folder, replaced / RELEASE)
            self._filesystem.rename(staging / RELEASE, self._folder)

    def _take_back(self, staging: Path, old: int | None, had: list[Path]) -> None:
        """Restore the checkpoint directory. Undo the operation that failed too, if it was done before its error."""
        if old is None and _trackers(self._root)[1] in had and not _trackers(staging)[1].exists():
            # The tracker already names the new checkpoint, which is complete.
            return
        for tracker in reversed(_trackers(self._root)):
            if tracker not in had and tracker.exists():
                self._filesystem.unlink(tracker)
        if _identity(self._folder) == old:
            return
        if old is not None and _identity(staging / RELEASE) == old:
            self._filesystem.exchange(staging / RELEASE, self._folder)
            return
        if self._folder.exists():
            self._filesystem.rename(self._folder, staging / RELEASE)
        if old is not None:
            self._filesystem.rename(self._own_folders[-1] / RELEASE, self._folder)

    def _try(self, what: str, step: Callable[..., None], *arguments: Any) -> bool:
        try:
            step(*arguments)
        except OSError as error:
            logger.warning("Could not %s (%s); the next run will retry", what, error)
            return False
        return True


def _identity(folder: Path) -> int | None:
    """Return the inode of a directory, which a rename keeps; None if it does not exist."""
    return folder.stat().st_ino if folder.exists() else None


def _trackers(root: Path) -> tuple[Path, Path]:
    """Return Bridge's tracker and the text tracker, in the order of their publication."""
    return (
        Path(get_checkpoint_train_state_filename(str(root), prefix=TRACKER_PREFIX)),
        Path(get_checkpoint_tracker_filename(str(root))),
    )
