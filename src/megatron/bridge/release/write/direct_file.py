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

"""A new file that is written past the page cache, on a local filesystem that can.

Through the page cache, a gigabyte takes the kernel as long as its checksums take, and pushes out what is read.
"""

import errno
import fcntl
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np

from megatron.bridge.release.write.filesystem import filesystem_type


# What is written at a time. Writes past the page cache come from whole pages and end at whole blocks of the disk.
_BUFFER, _BLOCK = 2 << 20, 4096
# Filesystems that send a write to a server and wait for it, where the page cache sends many at a time.
_NETWORK = frozenset(
    "9p afs beegfs ceph cifs fuse.ceph fuse.gcsfuse fuse.glusterfs fuse.juicefs fuse.s3fs fuse.sshfs fuse.weka gpfs lustre "
    "nfs nfs4 orangefs panfs pvfs2 smb3 wekafs".split()
)
# How much is written through the page cache before the kernel is asked to bring it to the disk.
_WRITEBACK = 16 << 20


class DirectFile:
    """A new file.

    Args:
        path: Its path.

    Attributes:
        path: Its path.
        size: How many bytes were given to it.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.size = path, 0
        self._buffer, self._filled = np.frombuffer(mmap.mmap(-1, _BUFFER), np.uint8), 0
        self._written = self._written_back = 0

    def __enter__(self) -> Self:
        with self._named():
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            self._direct = False
            if filesystem_type(self.path.parent) in _NETWORK:
                return self
            try:
                fcntl.fcntl(self._descriptor, fcntl.F_SETFL, os.O_DIRECT)
                self._direct = True
            except OSError:
                # This filesystem has no direct I/O.
                pass
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        try:
            if kind is None:
                with self._named():
                    self._write_out()
                    os.fsync(self._descriptor)
        finally:
            os.close(self._descriptor)

    def write(self, data: Any) -> int:
        """Write bytes, all of them.

        Args:
            data: The bytes.

        Returns:
            How many they are.

        Raises:
            OSError: If they, or bytes before them, cannot be written.
        """
        given, at = np.frombuffer(data, np.uint8), 0
        while at < len(given):
            piece = given[at : at + _BUFFER - self._filled]
            # NumPy lets other threads run meanwhile.
            self._buffer[self._filled : self._filled + len(piece)] = piece
            self._filled += len(piece)
            at += len(piece)
            if self._filled == _BUFFER:
                with self._named():
                    self._write_out()
        self.size += len(given)
        return len(given)

    def _write_out(self) -> None:
        """Write what is in the buffer."""
        if self._filled % _BLOCK:
            self._use_page_cache()
        view, done = memoryview(self._buffer), 0
        while done < self._filled:
            try:
                count = os.write(self._descriptor, view[done : self._filled])
                if not count:
                    raise OSError(errno.EIO, "nothing is written")
                done += count
            except OSError as error:
                if not self._direct or error.errno != errno.EINVAL:
                    raise
                # A disk of larger blocks, or a file system that accepts the flag and not the write.
                self._use_page_cache()
        self._written += done
        self._filled = 0
        if not self._direct and self._written - self._written_back >= _WRITEBACK:
            os.posix_fadvise(
                self._descriptor, self._written_back, self._written - self._written_back, os.POSIX_FADV_DONTNEED
            )
            self._written_back = self._written

    def _use_page_cache(self) -> None:
        if self._direct:
            fcntl.fcntl(self._descriptor, fcntl.F_SETFL, 0)
            self._direct = False

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Let an error of the operating system name the file."""
        try:
            yield
        except OSError as error:
            error.filename = error.filename or str(self.path)
            raise
