# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Reads a checkpoint's metadata and states, without torch and without executing code from the files.

Pickles may name only the few classes that torch.distributed.checkpoint and Megatron Core write (torch 2.6 to 2.14,
megatron-core 0.14 to 0.19), which are replaced by placeholders. torch itself reads ``.metadata`` with plain ``pickle``,
which executes what it names.
"""

import zipfile
from argparse import Namespace
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from megatron.bridge.release.compat.checkpoint_format import COMMON_ENTRY, METADATA_CLASSES
from megatron.bridge.release.errors import CorruptFileError
from megatron.bridge.release.layout import COMMON_STATE, METADATA
from megatron.bridge.release.verify.torch_zip import Placeholder, Unpickler, open_part, read_archive


@dataclass(frozen=True)
class Tensor:
    """A tensor of a checkpoint.

    Attributes:
        shape: Its whole shape; layers of the same kind share a key and are stacked along the first axis.
        chunks: Offset and shape of each stored chunk.
    """

    shape: tuple[int, ...]
    chunks: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]


@dataclass(frozen=True)
class Entry:
    """Where a chunk of a tensor, or an object, is stored.

    Attributes:
        at: Offset of the chunk in its tensor; None for an object.
        offset: Position of its first byte in the file.
        length: Number of bytes.
    """

    key: str
    at: tuple[int, ...] | None
    file: str
    offset: int
    length: int


@dataclass(frozen=True)
class Metadata:
    """The content of ``.metadata``.

    Attributes:
        tensors: The tensors, by their keys.
        objects: Keys of everything else.
    """

    tensors: dict[str, Tensor]
    objects: tuple[str, ...]
    entries: tuple[Entry, ...]

    def sizes(self) -> dict[str, int]:
        """Return the size of each file in bytes, by its name."""
        ends: dict[str, int] = {}
        for entry in self.entries:
            ends[entry.file] = max(ends.get(entry.file, 0), entry.offset + entry.length)
        return ends

    def common_entry(self) -> Entry | None:
        """Return where megatron-core stores the common state since 0.19; None if it is not among the tensors."""
        return next((entry for entry in self.entries if entry.key == COMMON_ENTRY), None)

    def keys_without_storage(self) -> list[str]:
        """Return the keys of tensors and objects that are not stored completely."""
        stored = {(entry.key, entry.at) for entry in self.entries}
        return [
            key
            for key, tensor in self.tensors.items()
            if sum(prod(shape) for _, shape in tensor.chunks) != prod(tensor.shape)
            or any((key, at) not in stored for at, _ in tensor.chunks)
        ] + [key for key in self.objects if (key, None) not in stored]


def read_metadata(folder: Path) -> Metadata:
    """Read ``.metadata``. Raise CorruptFileError if it is missing or corrupt, or names a class that is not allowed."""
    try:
        with open(folder / METADATA, "rb") as file:
            state = Unpickler(file, METADATA_CLASSES).load().state
            if file.read(1):
                raise ValueError("trailing data after the pickle")
        tensors, objects = {}, []
        for key, value in state["state_dict_metadata"].items():
            if type(value).__name__ == "BytesStorageMetadata":
                objects.append(key)
            else:
                chunks = [
                    (_shape(chunk.state["offsets"]), _shape(chunk.state["sizes"])) for chunk in value.state["chunks"]
                ]
                tensors[key] = Tensor(_shape(value.state["size"]), tuple(chunks))
        entries = []
        for index, info in state["storage_data"].items():
            at = index.state.get("offset")
            file_name, offset, length = (info.state[name] for name in ("relative_path", "offset", "length"))
            if not (isinstance(file_name, str) and min(offset, length) >= 0):
                raise ValueError(f"{index.state['fqn']} has the invalid storage {file_name!r}, {offset}, {length}")
            entries.append(Entry(index.state["fqn"], at and _shape(at), file_name, offset, length))
        return Metadata(tensors, tuple(objects), tuple(entries))
    except Exception as error:
        # A corrupt pickle can raise anything.
        raise CorruptFileError(METADATA, _reason(error)) from error


def read_state(folder: Path, name: str = COMMON_STATE) -> dict[str, Any]:
    """Read a dictionary that ``torch.save`` wrote: see `read_archive` for its values.

    Raises:
        CorruptFileError: If the file is missing or corrupt, or names a class that is not allowed.
    """
    try:
        with open(folder / name, "rb") as file:
            state = read_archive(file)
        if not isinstance(state, dict):
            raise ValueError(f"it contains a {type(state).__name__}, not a dictionary")
        return state
    except Exception as error:
        raise CorruptFileError(name, _reason(error)) from error


def read_embedded_common_state(folder: Path, metadata: Metadata) -> dict[str, Any] | None:
    """Read the common state that megatron-core stores among the tensors since 0.19; return None if it is not there.

    Raises:
        CorruptFileError: If it is corrupt.
    """
    entry = metadata.common_entry()
    if entry is None:
        return None
    try:
        with open(folder / entry.file, "rb") as file:
            state: dict[str, Any] = read_archive(open_part(file, entry.offset, entry.length))[0]
        return state
    except Exception as error:
        raise CorruptFileError(f"{COMMON_ENTRY} in {entry.file}", _reason(error)) from error


def read_args(folder: Path) -> dict[str, Any]:
    """Read Megatron-LM's args from the common state of any version of megatron-core; return {} if there are none.

    Raises:
        CorruptFileError: If the common state is corrupt.
    """
    if (folder / COMMON_STATE).exists():
        common: dict[str, Any] | None = read_state(folder)
    else:
        common = read_embedded_common_state(folder, read_metadata(folder))
    args = (common or {}).get("args")
    return vars(args) if isinstance(args, Namespace) else {}


def verify_entries(folder: Path, entries: Iterable[Entry]) -> Iterator[tuple[Entry, str | None]]:
    """Read entries, compare the checksums that ``torch.save`` puts next to them, and yield each with its damage or None."""
    for entry in entries:
        try:
            with (
                open(folder / entry.file, "rb") as file,
                zipfile.ZipFile(open_part(file, entry.offset, entry.length)) as archive,
            ):
                damaged = archive.testzip()
                yield entry, None if damaged is None else f"checksum mismatch in {damaged}"
        except Exception as error:
            yield entry, _reason(error)


def _shape(size: Placeholder) -> tuple[int, ...]:
    """Return the numbers of a ``torch.Size``."""
    numbers = tuple(size.arguments[0])
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise ValueError(f"invalid shape {numbers}")
    return numbers


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{error or type(error).__name__}"
