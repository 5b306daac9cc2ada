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


"""Reads a checkpoint's metadata and states without torch, and without running anything that a file names.

Pickles are read with stand-ins for the few classes that torch.distributed.checkpoint and Megatron Core write
(torch 2.6 to 2.14, megatron-core 0.14 to 0.19); a pickle that names anything else is refused. Programs that load
checkpoints read ``.metadata`` with plain ``pickle``, which would run what it names.
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
from megatron.bridge.release.verify.torch_zip import StandIn, Unpickler, open_part, read_archive


@dataclass(frozen=True)
class Tensor:
    """A tensor of a checkpoint.

    Attributes:
        shape: Its whole shape; layers that are alike share a key, and the first axis counts them.
        chunks: Offset and shape of each stored chunk.
    """

    shape: tuple[int, ...]
    chunks: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]


@dataclass(frozen=True)
class Entry:
    """The place where a chunk of a tensor, or an object, is stored.

    Attributes:
        key: Key of the tensor or the object.
        at: Offset of the chunk in its tensor; None for an object.
        file: Name of the file.
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
        entries: Where each chunk and each object is stored.
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
        """Return where megatron-core, since 0.19, stores the common state; None if it is not among the tensors."""
        return next((entry for entry in self.entries if entry.key == COMMON_ENTRY), None)

    def not_stored(self) -> list[str]:
        """Return the keys of tensors and objects of which a part is stored nowhere."""
        stored = {(entry.key, entry.at) for entry in self.entries}
        return [
            key
            for key, tensor in self.tensors.items()
            if sum(prod(shape) for _, shape in tensor.chunks) != prod(tensor.shape)
            or any((key, at) not in stored for at, _ in tensor.chunks)
        ] + [key for key in self.objects if (key, None) not in stored]


def read_metadata(folder: Path) -> Metadata:
    """Read ``.metadata``.

    Args:
        folder: Checkpoint folder.

    Returns:
        Its content.

    Raises:
        CorruptFileError: If it is missing or damaged, or names a class that no checkpoint should.
    """
    try:
        with open(folder / METADATA, "rb") as file:
            state = Unpickler(file, METADATA_CLASSES).load().state
            if file.read(1):
                raise ValueError("it goes on after its end")
        tensors, objects = {}, []
        for key, value in state["state_dict_metadata"].items():
            if type(value).__name__ == "BytesStorageMetadata":
                objects.append(key)
            else:
                chunks = [
                    (_numbers(chunk.state["offsets"]), _numbers(chunk.state["sizes"]))
                    for chunk in value.state["chunks"]
                ]
                tensors[key] = Tensor(_numbers(value.state["size"]), tuple(chunks))
        entries = []
        for index, info in state["storage_data"].items():
            at = index.state.get("offset")
            file_name, offset, length = (info.state[name] for name in ("relative_path", "offset", "length"))
            if not (isinstance(file_name, str) and min(offset, length) >= 0):
                raise ValueError(f"it stores {index.state['fqn']} at {file_name!r}, {offset}, {length}")
            entries.append(Entry(index.state["fqn"], at and _numbers(at), file_name, offset, length))
        return Metadata(tensors, tuple(objects), tuple(entries))
    except Exception as error:
        # A damaged pickle can raise anything.
        raise CorruptFileError(METADATA, _reason(error)) from error


def read_state(folder: Path, name: str = COMMON_STATE) -> dict[str, Any]:
    """Read the plain values of a file that ``torch.save`` wrote, with stand-ins for everything else.

    Args:
        folder: Checkpoint folder.
        name: Name of the file.

    Returns:
        The state: torch dtypes as their names, integer tensors of one value as that value.

    Raises:
        CorruptFileError: If the file is missing or damaged, or names what torch does not load with ``weights_only=True``.
    """
    try:
        with open(folder / name, "rb") as file:
            state = read_archive(file)
        if not isinstance(state, dict):
            raise ValueError(f"it holds a {type(state).__name__}")
        return state
    except Exception as error:
        raise CorruptFileError(name, _reason(error)) from error


def read_common_entry(folder: Path, metadata: Metadata) -> dict[str, Any] | None:
    """Read the common state that megatron-core, since 0.19, stores among the tensors.

    Args:
        folder: Checkpoint folder.
        metadata: Content of its ``.metadata``.

    Returns:
        The common state, as `read_state` returns it; None if it is not stored there.

    Raises:
        CorruptFileError: If it is damaged.
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
    """Read Megatron-LM's args from the common state, wherever the version of megatron-core has stored it.

    Args:
        folder: Checkpoint folder.

    Returns:
        The args, by their names; empty if there are none.

    Raises:
        CorruptFileError: If the common state is damaged.
    """
    if (folder / COMMON_STATE).exists():
        common: dict[str, Any] | None = read_state(folder)
    else:
        common = read_common_entry(folder, read_metadata(folder))
    args = (common or {}).get("args")
    return vars(args) if isinstance(args, Namespace) else {}


def verify_entries(folder: Path, entries: Iterable[Entry]) -> Iterator[tuple[Entry, str | None]]:
    """Read entries and compare them with the checksums that ``torch.save`` puts into them.

    Args:
        folder: Checkpoint folder.
        entries: The entries to read.

    Yields:
        Each entry, and how it is damaged; None if it is not.
    """
    for entry in entries:
        try:
            with (
                open(folder / entry.file, "rb") as file,
                zipfile.ZipFile(open_part(file, entry.offset, entry.length)) as archive,
            ):
                damaged = archive.testzip()
                yield entry, None if damaged is None else f"{damaged} has another checksum"
        except Exception as error:
            yield entry, _reason(error)


def _numbers(size: StandIn) -> tuple[int, ...]:
    """Return the numbers of a ``torch.Size``."""
    numbers = tuple(size.arguments[0])
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise ValueError(f"{numbers} is no shape")
    return numbers


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{error or type(error).__name__}"
