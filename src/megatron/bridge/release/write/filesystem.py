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

"""What publishing does to a disk, one operation a method."""

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
    """What publishing does to a disk, one operation a method, so that tests can stop, fail and replay each."""

    def make_folder(self, folder: Path) -> None:
        """Make a folder that is not there."""
        folder.mkdir(exist_ok=True)

    def make_own_folder(self, root: Path, prefix: str) -> Path:
        """Make a folder of a new name in the root."""
        while True:
            # Unlike mkdtemp's, it has the mode of any other new folder.
            folder = root / f"{prefix}{secrets.token_hex(4)}"
            with suppress(FileExistsError):
                folder.mkdir()
                return folder

    def sync(self, path: Path) -> None:
        """Have a file's bytes, or a folder's names, on the disk."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def link(self, file: Path, name: Path) -> None:
        """Link a file under a second name."""
        os.link(file, name)

    def rename(self, source: Path, target: Path) -> None:
        """Rename a file, over another if there is one, or a folder."""
        os.replace(source, target)

    def exchange(self, one: Path, other: Path) -> None:
        """Let two folders change names in one operation."""
        libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(libc, "renameat2"):
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        if libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(one), None, str(other))

    def unlink(self, file: Path) -> None:
        """Remove a file."""
        file.unlink()

    def remove(self, folder: Path) -> None:
        """Remove a folder and what is in it."""
        shutil.rmtree(folder)

    def lock(self, file: Path) -> int:
        """Make a file and lock it, for as long as this process lives.

        Raises:
            BlockingIOError: If another process has it locked.
        """
        while True:
            # Not through a link: what it leads to would be written over.
            made = not file.exists()
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(descriptor), file.stat()):
                    return descriptor
            except FileNotFoundError:
                # Who had it locked has removed it since it was opened here.
                pass
            except BaseException as error:
                os.close(descriptor)
                if made and not isinstance(error, BlockingIOError):
                    # No process has locked it, so no other one removes it.
                    file.unlink(missing_ok=True)
                raise
            os.close(descriptor)


def filesystem_type(path: Path) -> str:
    """Return the type of the filesystem that has a path, such as ``ext4``; empty if it is not known."""
    points, resolved = mounts(), path.resolve()
    return next((points[point] for point in (resolved, *resolved.parents) if point in points), "")


def mounts() -> dict[Path, str]:
    """Return the type of each mounted filesystem, by its mount point; none where the kernel lists none."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        # See proc_pid_mountinfo(5): the fifth field is the mount point, the first after a hyphen the type.
        before, _, after = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), before.split(" ")[4])
        found[Path(point)] = after.split(" ")[0]
    return found
