# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Reads tensors from safetensors files, and notices if a file changes meanwhile.

Not mmap: truncating a mapped file raises SIGBUS in the process that reads it.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

import torch

from megatron.bridge.models.hf_pretrained.state import StateSource
from megatron.bridge.release.source.dtypes import TORCH_DTYPES
from megatron.bridge.release.source.errors import CorruptWeightsError, FileChangedError, GitLfsPointerError
from megatron.bridge.release.source.safetensors_index import TensorInfo, parse_header


@dataclass(frozen=True)
class ByteRange:
    """A part of a file that must not change.

    Attributes:
        path: The file.
        fingerprint: See `file_fingerprint`.
        offset: Start of the part, in bytes.
        length: Its length, in bytes.
    """

    path: Path
    fingerprint: tuple[int, ...]
    offset: int
    length: int

    def cut(self, offset: int, length: int) -> "ByteRange":
        """Return a part of this part."""
        return replace(self, offset=self.offset + offset, length=length)

    def read(self) -> bytearray:
        """Read all bytes; see `chunks`."""
        data = bytearray(self.length)
        for _ in self.chunks(memoryview(data)):
            pass
        return data

    def chunks(self, buffer: memoryview) -> Iterator[memoryview]:
        """Read chunk by chunk.

        Args:
            buffer: Buffer of one chunk, which each chunk overwrites.

        Raises:
            OSError: If the file cannot be read.
            FileChangedError: If it has changed since its fingerprint was taken.
        """
        with self._opened() as descriptor:
            for start in range(0, self.length, len(buffer) or 1):
                chunk = buffer[: min(len(buffer), self.length - start)]
                done = 0
                while done < len(chunk):
                    count = os.preadv(descriptor, [chunk[done:]], self.offset + start + done)
                    if not count:
                        raise FileChangedError(self.path)
                    done += count
                yield chunk

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """Open the file for one read, to limit the number of open descriptors."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
            try:
                if file_fingerprint(os.fstat(descriptor)) != self.fingerprint:
                    raise FileChangedError(self.path)
                yield descriptor
            finally:
                os.close(descriptor)
        except OSError as error:
            # Errors of reads have no file name.
            error.filename = error.filename or str(self.path)
            raise


def file_fingerprint(status: os.stat_result) -> tuple[int, ...]:
    """Return values that differ between two files, and between two states of one file."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class SafetensorsReader(StateSource):
    """The tensors of a model's directory. Several threads may use it.

    Args:
        folder: The directory.
        tensors: What `read_index` returned for it. The files must not change from then on.
    """

    def __init__(self, folder: Path, tensors: Mapping[str, TensorInfo]) -> None:
        self._folder, self._tensors = folder, tensors
        files = {tensor.file for tensor in tensors.values()}
        self._fingerprints = {name: file_fingerprint(os.stat(folder / name)) for name in files}
        self._unchecked = files
        self._lock = Lock()

    def get_all_keys(self) -> Any:
        # Not a list: StateDict searches it for each tensor.
        return self._tensors.keys()

    def place(self, name: str) -> ByteRange:
        """Return the bytes of a tensor.

        Raises:
            OSError: If the file cannot be read.
            FileChangedError: If it has changed since the index was read.
        """
        tensor = self._tensors[name]
        with self._lock:
            if tensor.file in self._unchecked:
                self._require_same_header(tensor.file)
                self._unchecked.remove(tensor.file)
        path = self._folder / tensor.file
        return ByteRange(path, self._fingerprints[tensor.file], tensor.begin, tensor.end - tensor.begin)

    def load_tensors(self, keys: list[str]) -> dict[str, torch.Tensor]:
        return {key: self._load(key) for key in keys}

    def require_unchanged(self) -> None:
        """Require that no file has changed since the reader was created.

        Raises:
            OSError: If one does not exist any more.
            FileChangedError: If one has changed.
        """
        for name, fingerprint in self._fingerprints.items():
            if file_fingerprint(os.stat(self._folder / name)) != fingerprint:
                raise FileChangedError(self._folder / name)

    def _load(self, name: str) -> torch.Tensor:
        info, place = self._tensors[name], self.place(name)
        tensor = torch.empty(info.shape, dtype=TORCH_DTYPES[info.dtype])
        if place.length:
            for _ in place.chunks(memoryview(tensor.flatten().view(torch.uint8).numpy())):
                pass
        return tensor

    def _require_same_header(self, file: str) -> None:
        """Require that a file did not change between the reading of the index and its fingerprint."""
        path = self._folder / file
        with open(path, "rb") as opened:
            try:
                found = parse_header(opened, path)
            except (CorruptWeightsError, GitLfsPointerError) as error:
                raise FileChangedError(path) from error
            fingerprint = file_fingerprint(os.fstat(opened.fileno()))
        expected = {name: tensor for name, tensor in self._tensors.items() if tensor.file == file}
        if found != expected or fingerprint != self._fingerprints[file]:
            raise FileChangedError(path)
