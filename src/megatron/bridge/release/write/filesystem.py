# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The filesystem operations of a publication."""

import ctypes
import errno
import fcntl
import os
import re
import secrets
import shutil
from contextlib import suppress
from pathlib import Path


_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


class Filesystem:
    """The filesystem operations of a publication, a method each, so that tests can interrupt, fail and replay them."""

    def make_folder(self, folder: Path) -> None:
        """Create a directory."""
        folder.mkdir(exist_ok=True)

    def make_own_folder(self, root: Path, prefix: str) -> Path:
        """Create a directory with a new name in the checkpoint directory."""
        while True:
            # mkdtemp() creates mode 0700; use the normal umask-based mode.
            folder = root / f"{prefix}{secrets.token_hex(4)}"
            with suppress(FileExistsError):
                folder.mkdir()
                return folder

    def sync(self, path: Path) -> None:
        """fsync a file or directory."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def link(self, file: Path, name: Path) -> None:
        """Create a hard link."""
        os.link(file, name)

    def rename(self, source: Path, target: Path) -> None:
        """Rename a directory, or a file over another one."""
        os.replace(source, target)

    def exchange(self, one: Path, other: Path) -> None:
        """Exchange the names of two directories atomically."""
        libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(libc, "renameat2"):
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        if libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(one), None, str(other))

    def unlink(self, file: Path) -> None:
        """Remove a file."""
        file.unlink()

    def remove(self, folder: Path) -> None:
        """Remove a directory and its content."""
        shutil.rmtree(folder)

    def lock(self, file: Path) -> int:
        """Create and lock a file until this process ends.

        Raises:
            BlockingIOError: If another process has locked it.
        """
        while True:
            # O_NOFOLLOW: the target of a symlink would be overwritten.
            is_new = not file.exists()
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(descriptor), file.stat()):
                    return descriptor
            except FileNotFoundError:
                # The previous owner removed the file between open() and flock(); retry.
                pass
            except BaseException as error:
                os.close(descriptor)
                if is_new and not isinstance(error, BlockingIOError):
                    # No process has locked it, so no other process will remove it.
                    file.unlink(missing_ok=True)
                raise
            os.close(descriptor)


def filesystem_type(path: Path) -> str:
    """Return the type of the filesystem of a path, such as ``ext4``; an empty string if it is unknown."""
    points, resolved = mounts(), path.resolve()
    return next((points[point] for point in (resolved, *resolved.parents) if point in points), "")


def mounts() -> dict[Path, str]:
    """Return the types of the mounted filesystems, by mount point; none if the kernel does not list them."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        # proc_pid_mountinfo(5): the fifth field is the mount point, the first one after the hyphen is the type.
        before, _, after = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), before.split(" ")[4])
        found[Path(point)] = after.split(" ")[0]
    return found
