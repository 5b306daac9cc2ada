# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""A new file that is written with O_DIRECT on local filesystems, and through the page cache elsewhere.

Through the page cache, the kernel spends as much time on a gigabyte as its checksums take, and evicts the source files.
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

from megatron.bridge.release.write.errors import EnvironmentVariableError
from megatron.bridge.release.write.filesystem import filesystem_type


# O_DIRECT requires page-aligned buffers and block-aligned lengths.
_BUFFER, _BLOCK = 2 << 20, 4096
# On these filesystems, each direct write waits for the server, but buffered writes are pipelined.
_NETWORK = frozenset(
    "9p afs beegfs ceph cifs fuse.ceph fuse.gcsfuse fuse.glusterfs fuse.juicefs fuse.s3fs fuse.sshfs fuse.weka gpfs lustre "
    "nfs nfs4 orangefs panfs pvfs2 smb3 wekafs".split()
)
# Environment variable that overrides the choice by filesystem: 1 for O_DIRECT, 0 for the page cache.
DIRECT_VARIABLE = "MEGATRON_BRIDGE_IMPORT_DIRECT_IO"
# Buffered bytes after which the kernel starts to write them back.
_WRITEBACK = 16 << 20


class DirectFile:
    """A new file.

    Attributes:
        path: Its path.
        size: Number of bytes that were passed to `write`.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.size = path, 0
        self._buffer, self._filled = np.frombuffer(mmap.mmap(-1, _BUFFER), np.uint8), 0
        self._written = self._written_back = 0

    def __enter__(self) -> Self:
        with self._path_in_errors():
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            self._direct = False
            if not _is_direct(self.path.parent):
                return self
            try:
                fcntl.fcntl(self._descriptor, fcntl.F_SETFL, os.O_DIRECT)
                self._direct = True
            except OSError:
                # The filesystem does not support O_DIRECT.
                pass
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        try:
            if kind is None:
                with self._path_in_errors():
                    self._write_out()
                    os.fsync(self._descriptor)
        finally:
            os.close(self._descriptor)

    def write(self, data: Any) -> int:
        """Write all bytes, and return their number.

        Raises:
            OSError: If these or previous bytes cannot be written.
        """
        source, at = np.frombuffer(data, np.uint8), 0
        while at < len(source):
            piece = source[at : at + _BUFFER - self._filled]
            # NumPy releases the GIL while it copies.
            self._buffer[self._filled : self._filled + len(piece)] = piece
            self._filled += len(piece)
            at += len(piece)
            if self._filled == _BUFFER:
                with self._path_in_errors():
                    self._write_out()
        self.size += len(source)
        return len(source)

    def _write_out(self) -> None:
        """Write the buffer to the file."""
        if self._filled % _BLOCK:
            self._use_page_cache()
        view, done = memoryview(self._buffer), 0
        while done < self._filled:
            try:
                count = os.write(self._descriptor, view[done : self._filled])
                if not count:
                    raise OSError(errno.EIO, "no bytes written")
                done += count
            except OSError as error:
                if not self._direct or error.errno != errno.EINVAL:
                    raise
                # The disk has larger blocks, or the filesystem rejects direct writes.
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
    def _path_in_errors(self) -> Iterator[None]:
        """Add the path of the file to errors of the operating system."""
        try:
            yield
        except OSError as error:
            error.filename = error.filename or str(self.path)
            raise


def _is_direct(folder: Path) -> bool:
    value = os.environ.get(DIRECT_VARIABLE)
    if value not in (None, "", "0", "1"):
        raise EnvironmentVariableError(DIRECT_VARIABLE, value, "0 or 1")
    return value == "1" if value else filesystem_type(folder) not in _NETWORK
