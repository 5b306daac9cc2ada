# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Reads files that ``torch.save`` wrote, without torch and without executing code from them."""

import io
import pickle
import zipfile
from argparse import Namespace
from dataclasses import dataclass
from math import prod
from typing import Any, BinaryIO

from megatron.bridge.release.compat.checkpoint_format import STATE_CLASSES


_DTYPES = ("bfloat16", "bool", "float16", "float32", "float64", "float8_e4m3fn", "float8_e5m2") + (
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)
# Offset, in the header of an archive's member, of the lengths of its name and of the padding after that.
_NAME_LENGTH = 26


class Placeholder:
    """Placeholder that records constructor arguments and state during restricted unpickling."""

    arguments: tuple[Any, ...] = ()
    state: Any = None

    def __new__(cls, *arguments: Any) -> "Placeholder":
        placeholder = object.__new__(cls)
        placeholder.arguments = arguments
        return placeholder

    def __init__(self, *arguments: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        """Ignore the items of an OrderedDict."""


class Unpickler(pickle.Unpickler):
    """Unpickler that allows a few classes, each given by its module and name, and replaces them by placeholders."""

    def __init__(self, file: BinaryIO, classes: set[tuple[str, str]]) -> None:
        super().__init__(file)
        self._classes = classes

    def find_class(self, module: str, name: str) -> Any:
        # A pickle only sets its attributes.
        if (module, name) == ("argparse", "Namespace"):
            return Namespace
        if (module, name) in self._classes:
            return type(name, (Placeholder,), {})
        if module == "torch" and name in _DTYPES:
            return f"torch.{name}"
        raise pickle.UnpicklingError(f"refused to unpickle {module}.{name}: not an allowed class")

    def persistent_load(self, storage: Any) -> Any:
        return storage


@dataclass(frozen=True)
class TensorBytes:
    """Where the values of a contiguous tensor are in a file.

    Attributes:
        storage: Name of torch's storage class for the dtype, such as ``BFloat16Storage``.
        offset: Position of the first byte in the file.
        length: Number of bytes.
    """

    storage: str
    shape: tuple[int, ...]
    offset: int
    length: int


def find_tensor_bytes(file: BinaryIO, offset: int, length: int) -> TensorBytes | None:
    """Find the values of a tensor that ``torch.save`` wrote into a part of a file.

    Args:
        offset: Position of the part's first byte.
        length: Number of its bytes.

    Returns:
        Their place; None if the part contains no tensor, or one that is compressed or not contiguous.

    Raises:
        Exception: If the part is corrupt.
    """
    part = open_part(file, offset, length)
    with zipfile.ZipFile(part) as archive:
        pickled, value = _read_pickle(part, archive)
        if type(value).__name__ != "_rebuild_tensor_v2":
            return None
        (_, storage, key, _, numbers), begin, shape, strides = value.arguments[:4]
        member = archive.getinfo(f"{pickled.removesuffix('.pkl')}/{key}")
    expected = [prod(shape[at + 1 :]) for at in range(len(shape))]
    is_contiguous = all(size == 1 or found == stride for size, found, stride in zip(shape, strides, expected))
    if begin or not is_contiguous or numbers != prod(shape) or member.compress_type != zipfile.ZIP_STORED:
        return None
    return TensorBytes(storage.__name__, tuple(shape), offset + _data_offset(part, member), member.file_size)


def read_archive(file: BinaryIO) -> Any:
    """Read the content of a file that ``torch.save`` wrote.

    Returns:
        Plain values, dtypes as their names, integer tensors of one value as that value, and placeholders for the rest.

    Raises:
        Exception: If it is corrupt, or names a class that torch does not load with ``weights_only=True``.
    """
    with zipfile.ZipFile(file) as archive:
        pickled, state = _read_pickle(file, archive)
        values = state if isinstance(state, dict) else {}
        for key, value in values.items():
            if type(value).__name__ == "_rebuild_tensor_v2":
                _, storage, storage_key, _, numbers = value.arguments[0]
                if storage.__name__ == "LongStorage" and numbers == 1:
                    number = _read(file, archive, f"{pickled.removesuffix('.pkl')}/{storage_key}")
                    values[key] = int.from_bytes(number, "little", signed=True)
        return state


def _read_pickle(file: BinaryIO, archive: zipfile.ZipFile) -> tuple[str, Any]:
    """Return the name of an archive's pickle, and its content."""
    # The archive contains NAME/data.pkl, NAME/data/0, NAME/data/1, ...
    pickled = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
    return pickled, Unpickler(io.BytesIO(_read(file, archive, pickled)), STATE_CLASSES).load()


def _read(file: BinaryIO, archive: zipfile.ZipFile, name: str) -> bytes:
    member = archive.getinfo(name)
    if member.CRC or member.compress_type != zipfile.ZIP_STORED:
        return archive.read(member)
    # torch can omit the checksum: it is 0 then, which zipfile would report as a mismatch.
    file.seek(_data_offset(file, member))
    return file.read(member.file_size)


def _data_offset(file: BinaryIO, member: zipfile.ZipInfo) -> int:
    """Return the position of a member's data, which the central directory does not contain."""
    file.seek(member.header_offset + _NAME_LENGTH)
    name, padding = (int.from_bytes(file.read(2), "little") for _ in range(2))
    return member.header_offset + _NAME_LENGTH + 4 + name + padding


def open_part(file: BinaryIO, offset: int, length: int) -> BinaryIO:
    """Return a part of a file as a file, given the position of its first byte and the number of its bytes."""
    return io.BufferedReader(_Part(file, offset, length), 1 << 20)


class _Part(io.RawIOBase):
    """A part of a file, as a file."""

    def __init__(self, file: BinaryIO, offset: int, length: int) -> None:
        self._file, self._offset, self._length, self._at = file, offset, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence]
        if self._at < 0:
            raise ValueError(f"{self._at} is before the part's first byte")
        return self._at

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._offset + self._at)
        data = self._file.read(max(0, min(len(buffer), self._length - self._at)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
