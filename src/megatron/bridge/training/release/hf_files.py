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

"""Reads the tensors of safetensors files, whole or in parts, in a way that gives an error where a file is cut short.

A mapped file that is truncated meanwhile kills the process that reads it. The format is safetensors': the length of a
header, eight bytes, little-endian; the header, in JSON; the tensors' bytes, at ``data_offsets`` from its end.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import torch

from megatron.bridge.models.hf_pretrained.state import StateSource
from megatron.bridge.training.release.headers import Header
from megatron.bridge.training.release.meta_source import DTYPES, Names


@dataclass(frozen=True)
class FileRange:
    """A part of a file.

    Attributes:
        path: The file.
        descriptor: An open file descriptor of it.
        offset: Where the part begins, in bytes.
        length: Its length, in bytes.
    """

    path: Path
    descriptor: int
    offset: int
    length: int

    def cut(self, offset: int, length: int) -> "FileRange":
        """Give a part of this part."""
        return FileRange(self.path, self.descriptor, self.offset + offset, length)

    def read(self, buffer: memoryview, at: int = 0) -> None:
        """Fill a buffer.

        Args:
            buffer: What to fill.
            at: Where to begin in this part, in bytes.

        Raises:
            OSError: If the file cannot be read.
            ValueError: If it is shorter than its header says.
        """
        done = 0
        while done < len(buffer):
            try:
                count = os.preadv(self.descriptor, [buffer[done:]], self.offset + at + done)
            except OSError as error:
                error.filename = str(self.path)
                raise
            if not count:
                raise ValueError(f"{self.path} became shorter while it was read. Download the model again.")
            done += count

    def chunks(self, buffer: memoryview) -> Iterator[memoryview]:
        """Read it piece by piece.

        Args:
            buffer: Where to read it to; each piece overwrites the one before.

        Yields:
            The pieces, in order.
        """
        for at in range(0, self.length, len(buffer)):
            piece = buffer[: min(len(buffer), self.length - at)]
            self.read(piece, at)
            yield piece


class HuggingFaceFiles(StateSource):
    """The tensors of a model's folder, for several threads at a time.

    Unlike `SafeTensorsStateSource`, it opens each file once and maps none.
    """

    def __init__(self, folder: Path, headers: Mapping[str, Header]) -> None:
        self._folder, self._headers, self._names = folder, headers, Names(headers)
        self._files: dict[str, tuple[int, dict[str, tuple[int, int]]]] = {}
        self._lock = Lock()

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            for descriptor, _ in self._files.values():
                os.close(descriptor)
            self._files = {}

    def get_all_keys(self) -> list[str]:
        """See StateSource."""
        return self._names

    def place(self, name: str) -> FileRange:
        """Tell where the bytes of a tensor are.

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
            if file not in self._files:
                self._files[file] = _open(self._folder / file)
            descriptor, places = self._files[file]
        if name not in places:
            raise ValueError(f"{self._folder / file} has changed while it was read. Import the model again.")
        begin, end = places[name]
        return FileRange(self._folder / file, descriptor, begin, end - begin)

    def load_tensors(self, keys: list[str]) -> dict[str, torch.Tensor]:
        """See StateSource."""
        return {key: self._load(key) for key in keys}

    def _load(self, name: str) -> torch.Tensor:
        header, place = self._headers[name], self.place(name)
        tensor = torch.empty(header.shape, dtype=DTYPES[header.dtype])
        if tensor.nbytes != place.length:
            raise ValueError(f"{place.path} has changed while it was read. Import the model again.")
        if place.length:
            place.read(memoryview(tensor.flatten().view(torch.uint8).numpy()))
        return tensor


def _open(path: Path) -> tuple[int, dict[str, tuple[int, int]]]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        head = bytearray(8)
        FileRange(path, descriptor, 0, 8).read(memoryview(head))
        length = int.from_bytes(head, "little")
        header = bytearray(length)
        FileRange(path, descriptor, 8, length).read(memoryview(header))
        tensors = {name: entry for name, entry in json.loads(header).items() if name != "__metadata__"}
        begin = 8 + length
        return descriptor, {
            name: (begin + entry["data_offsets"][0], begin + entry["data_offsets"][1])
            for name, entry in tensors.items()
        }
    except BaseException:
        os.close(descriptor)
        raise
