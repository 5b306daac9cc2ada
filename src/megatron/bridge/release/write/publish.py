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

"""Publishes a release checkpoint: a reader finds the old checkpoint or the new one, whole, whatever stops it.

The checkpoint is written into a staging folder inside its root, and so on the root's filesystem. Publishing
syncs it, renames it to its name, then moves the trackers, the text tracker last, each step synced before the
next. A release that is replaced changes names with the new one in one operation where the filesystem has it
(``RENAME_EXCHANGE``; NFS has not: there it is two renames, and the next run takes back what a crash between
them left).

One process at a time writes into a root: it holds a lock, which the kernel releases when the process ends. Who
holds the lock clears what dead processes left.
"""

import errno
import logging
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable

from megatron.bridge.release.checkpoint_dir import busy_message, find_writer, left_folders
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

# In a staging folder: the root had no checkpoint and no tracker, so what this publication moves there is its own.
_FIRST = "first"

_OVERLAY = "overlay"

# How long a lock may be another's before that counts as a writer.
_LOCK_SECONDS = 1.0

_NOT_SUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)


class Publication:
    """One checkpoint on its way into a root. In a job of many ranks, rank 0's.

    Args:
        root: Checkpoint root; it need not exist.
        name: Name of the checkpoint folder, in the staging folder and in the root.
        filesystem: What reaches the disk.
    """

    def __init__(self, root: Path, name: str = RELEASE, filesystem: Filesystem = Filesystem()) -> None:
        self._root, self._name, self._filesystem = root, name, filesystem
        self._folder = root / name
        self._own_folders: list[Path] = []
        self._lock: int | None = None
        self._new: list[Path] = []

    def begin(self, check: Callable[[], None] = lambda: None) -> Path:
        """Lock the root, clear what dead processes left in it, and make the staging folder.

        Args:
            check: Raises what speaks against it, as `check_overwrite` does, when nobody else changes the root.

        Returns:
            The staging folder, which is laid out as a checkpoint root.

        Raises:
            Exception: What ``check`` raises.
            ValueError: If the filesystem cannot rename the folders.
            RuntimeError: If another process is writing into the root.
            OSError: If the filesystem refuses.
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
        """Refuse a folder in the root that cannot be renamed there, before the work.

        A directory of a lower layer of an overlay filesystem (a container's image) cannot, nor can a mount point.

        Args:
            folder: The folder.

        Raises:
            ValueError: If it cannot be renamed.
        """
        if folder.resolve() in mounts():
            raise MountPointError(folder, self._root)
        if filesystem_type(folder.parent) != _OVERLAY:
            return
        # A folder never replaces one that is not empty: only the error tells whether it could replace another.
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
        """Make what is in the staging folder the root's checkpoint.

        Raises:
            OSError: If the filesystem refuses. The root has then the checkpoint that it had, or, where another
                checkpoint folder than this one was named by its tracker, perhaps the new one.
        """
        staging = self._own_folders[0]
        self._sync_all(staging)
        old, had = _identity(self._folder), [tracker for tracker in _trackers(self._root) if tracker.exists()]
        try:
            self._move_folder(staging, old)
            # Its old name is gone from the disk before its new one is there: a crash leaves one of them.
            self._filesystem.sync(staging)
            self._filesystem.sync(self._root)
            for tracker in _trackers(self._root):
                self._filesystem.rename(staging / tracker.name, tracker)
                self._filesystem.sync(self._root)
        except BaseException:
            if not self._try(f"give {self._root} back what it had", self._take_back, staging, old, had):
                self._own_folders = []
            raise
        logger.info("Published the checkpoint %s", self._folder)

    def _sync_all(self, folder: Path) -> None:
        for directory, _, files in os.walk(folder, topdown=False):
            for name in files:
                self._filesystem.sync(Path(directory, name))
            self._filesystem.sync(Path(directory))

    def link(self, source: Path) -> Path:
        """Make the checkpoint folder in the staging folder, of second names of another folder's files.

        Args:
            source: The other checkpoint folder.

        Returns:
            The checkpoint folder.

        Raises:
            ValueError: If a file can get no second name.
            OSError: If the filesystem refuses.
        """
        target = self._own_folders[0] / self._name
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
        """Let the root's text tracker be the staged one already, before the folder that it names is published."""
        tracker = _trackers(self._root)[1]
        self._filesystem.sync(self._own_folders[0] / tracker.name)
        self._filesystem.rename(self._own_folders[0] / tracker.name, tracker)
        self._filesystem.sync(self._root)

    def retire(self, name: str) -> None:
        """Take a checkpoint folder out of the root at once; it is removed with the staging folder."""
        folder = self._root / name
        self._filesystem.rename(folder, self._own_folders[0] / f"retired-{folder.name}")
        self._filesystem.sync(folder.parent)

    def end(self) -> None:
        """Remove this process's own folders and release the lock. Errors are logged: they never hide a first one."""
        try:
            for folder in self._own_folders:
                self._try(f"remove {folder}", self._filesystem.remove, folder)
        finally:
            # Ctrl-C while they are removed leaves them to the next import, which this process may make.
            self._own_folders = []
            if self._lock is not None:
                self._try(f"remove {self._root / LOCK}", self._filesystem.unlink, self._root / LOCK)
                os.close(self._lock)
                self._lock = None
        for folder in self._new:
            # What was made for nothing; one that holds something stays.
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
            writer = find_writer(self._root) or "it has ended just now"
            raise RuntimeError(busy_message(self._root, writer)) from None
        except OSError as error:
            if error.errno not in _NOT_SUPPORTED:
                raise
            # What is there may be a living process's: nothing of it is cleared.
            logger.warning("The filesystem of %s has no locks: see that nobody else imports into it", self._root)
            return
        os.truncate(self._lock, 0)
        os.write(self._lock, f"process {os.getpid()} on {socket.gethostname()}\n".encode())

    def _mark(self, staging: Path) -> None:
        """Record in the staging folder what recovery needs to know about the root."""
        if not checkpoint_folders(str(self._root)) and not any(map(Path.exists, _trackers(self._root))):
            self._filesystem.make_folder(staging / _FIRST)

    def _lock_patiently(self, file: Path) -> int:
        """Lock a file; `find_writer`, which looks for a lock, has it for a moment itself."""
        deadline = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                return self._filesystem.lock(file)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(_LOCK_SECONDS / 100)

    def _recover(self) -> None:
        """Clear what processes left that died while they wrote into this root."""
        train_state, tracker = _trackers(self._root)
        for replaced in left_folders(self._root, REPLACED_PREFIX):
            if (replaced / RELEASE).exists() and not self._folder.exists():
                # It died between the two renames of a filesystem that cannot exchange.
                self._filesystem.rename(replaced / RELEASE, self._folder)
                self._filesystem.sync(self._root)
            self._filesystem.remove(replaced)
        for staging in left_folders(self._root, STAGING_PREFIX):
            moved = (staging / tracker.name).exists() and not (staging / RELEASE).exists()
            if (staging / _FIRST).exists() and moved and not tracker.exists() and self._folder.exists():
                # It died between the folder and the tracker, in a root that had neither: no reader has seen them.
                if train_state.exists():
                    self._filesystem.unlink(train_state)
                self._filesystem.rename(self._folder, staging / RELEASE)
                self._filesystem.sync(self._root)
            self._filesystem.remove(staging)

    def _move_folder(self, staging: Path, old: int | None) -> None:
        if old is None:
            self._filesystem.rename(staging / self._name, self._folder)
            return
        try:
            self._filesystem.exchange(staging / self._name, self._folder)
        except OSError as error:
            if error.errno not in _NOT_SUPPORTED:
                raise
            replaced = self._filesystem.make_own_folder(self._root, REPLACED_PREFIX)
            self._own_folders.append(replaced)
            self._filesystem.rename(self._folder, replaced / self._name)
            self._filesystem.rename(staging / self._name, self._folder)

    def _take_back(self, staging: Path, old: int | None, had: list[Path]) -> None:
        """Restore the root from what is there: an operation that reported a failure may have been done."""
        if old is None and _trackers(self._root)[1] in had and not _trackers(staging)[1].exists():
            # The tracker has left another checkpoint folder for this one, which is whole.
            return
        for tracker in reversed(_trackers(self._root)):
            if tracker not in had and tracker.exists():
                self._filesystem.unlink(tracker)
        if _identity(self._folder) == old:
            return
        if old is not None and _identity(staging / self._name) == old:
            self._filesystem.exchange(staging / self._name, self._folder)
            return
        if self._folder.exists():
            self._filesystem.rename(self._folder, staging / self._name)
        if old is not None:
            self._filesystem.rename(self._own_folders[-1] / self._name, self._folder)

    def _try(self, what: str, step: Callable[..., None], *arguments: Any) -> bool:
        try:
            step(*arguments)
        except OSError as error:
            logger.warning("Could not %s: %s. The next run does.", what, error)
            return False
        return True


def _identity(folder: Path) -> int | None:
    """Return what distinguishes a folder from another that takes its name."""
    return folder.stat().st_ino if folder.exists() else None


def _trackers(root: Path) -> tuple[Path, Path]:
    """Return Bridge's tracker and the text tracker, in the order in which they are written."""
    return (
        Path(get_checkpoint_train_state_filename(str(root), prefix=TRACKER_PREFIX)),
        Path(get_checkpoint_tracker_filename(str(root))),
    )
