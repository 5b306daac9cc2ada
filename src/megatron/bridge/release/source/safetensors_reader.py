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

"""Reads the tensors of safetensors files, whole or in parts, in a way that gives an error where a file changes meanwhile.

A mapped file that is truncated kills the process that reads it. The format is safetensors': the length of a header,
eight bytes, little-endian; the header, in JSON; the tensors' bytes, at ``data_offsets`` from its end.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

import torch

from megatron.bridge.models.hf_pretrained.state import StateSource
from megatron.bridge.release.source.meta_tensors import TORCH_DTYPES, Names
from megatron.bridge.release.source.safetensors_index import TensorInfo


@dataclass(frozen=True)
class ByteRange:
    """A part of a file that must not change.

    Attributes:
        path: The file.
        stamp: What the file system says of it: see `stamp`.
        offset: Where the part begins, in bytes.
        length: Its length, in bytes.
    """

    path: Path
    stamp: tuple[int, ...]
    offset: int
    length: int

    def cut(self, offset: int, length: int) -> "ByteRange":
        """Return a part of this part."""
        return replace(self, offset=self.offset + offset, length=length)

    def read(self) -> bytearray:
        """Read it whole; see `chunks`."""
        data = bytearray(self.length)
        for _ in self.chunks(memoryview(data)):
            # One piece, as long as the buffer.
            pass
        return data

    def chunks(self, buffer: memoryview) -> Iterator[memoryview]:
        """Read it piece by piece.

        Args:
            buffer: Where to read it to; each piece overwrites the one before.

        Yields:
            The pieces, in order.

        Raises:
            OSError: If the file cannot be read.
            ValueError: If it has changed since its stamp was taken.
        """
        with self._opened() as descriptor:
            for at in range(0, self.length, len(buffer) or 1):
                piece = buffer[: min(len(buffer), self.length - at)]
                done = 0
                while done < len(piece):
                    count = os.preadv(descriptor, [piece[done:]], self.offset + at + done)
                    if not count:
                        raise _changed(self.path)
                    done += count
                yield piece

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """Open it for a moment: of a thousand shards, not all need to be open at once."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
            try:
                if stamp(os.fstat(descriptor)) != self.stamp:
                    raise _changed(self.path)
                yield descriptor
            finally:
                os.close(descriptor)
        except OSError as error:
            error.filename = error.filename or str(self.path)
            raise


def stamp(status: os.stat_result) -> tuple[int, ...]:
    """Return what distinguishes a file from any other, and from itself before it was written to."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class SafetensorsReader(StateSource):
    """The tensors of a model's folder, for several threads at a time.

    Unlike `SafeTensorsStateSource`, it maps nothing, and what it has opened must stay as its headers were.
    """

    def __init__(self, folder: Path, headers: Mapping[str, TensorInfo]) -> None:
        self._folder, self._headers, self._names = folder, headers, Names(headers)
        self._stamps = {name: stamp(os.stat(folder / name)) for name in {header.file for header in headers.values()}}
        self._places: dict[str, dict[str, tuple[int, int]]] = {}
        self._lock = Lock()

    def get_all_keys(self) -> list[str]:
        """See StateSource."""
        return self._names

    def place(self, name: str) -> ByteRange:
        """Return where the bytes of a tensor are.

        Args:
            name: Name of the tensor.

        Returns:
            The part of a file.

        Raises:
            OSError: If the file cannot be read.
            ValueError: If it is not what its header was.
        """
        file = self._headers[name].file
        with self._lock:
            if file not in self._places:
                self._places[file] = self._read_places(file)
            begin, end = self._places[file][name]
        return ByteRange(self._folder / file, self._stamps[file], begin, end - begin)

    def load_tensors(self, keys: list[str]) -> dict[str, torch.Tensor]:
        """See StateSource."""
        return {key: self._load(key) for key in keys}

    def require_unchanged(self) -> None:
        """Require that the files are those that were read.

        Raises:
            OSError: If one is gone.
            ValueError: If one has changed.
        """
        for name, stamped in self._stamps.items():
            if stamp(os.stat(self._folder / name)) != stamped:
                raise _changed(self._folder / name)

    def _load(self, name: str) -> torch.Tensor:
        header, place = self._headers[name], self.place(name)
        tensor = torch.empty(header.shape, dtype=TORCH_DTYPES[header.dtype])
        if place.length:
            for _ in place.chunks(memoryview(tensor.flatten().view(torch.uint8).numpy())):
                pass
        return tensor

    def _read_places(self, file: str) -> dict[str, tuple[int, int]]:
        path = self._folder / file
        whole = ByteRange(path, self._stamps[file], 0, self._stamps[file][2])
        begin = 8 + int.from_bytes(whole.cut(0, 8).read(), "little")
        try:
            entries = json.loads(whole.cut(8, begin - 8).read())
            found = {
                name: TensorInfo(entry["dtype"], tuple(entry["shape"]), file)
                for name, entry in entries.items()
                if name != "__metadata__"
            }
        except (ValueError, KeyError, TypeError, AttributeError, MemoryError, OverflowError) as error:
            raise _changed(path) from error
        if found != {name: header for name, header in self._headers.items() if header.file == file}:
            raise _changed(path)
        offsets = {name: entries[name]["data_offsets"] for name in found}
        return {name: (begin + first, begin + last) for name, (first, last) in offsets.items()}


def _changed(path: Path) -> ValueError:
    return ValueError(f"{path} has changed while it was read. Import the model again when nobody writes to it.")
