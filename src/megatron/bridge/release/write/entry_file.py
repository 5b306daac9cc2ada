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

"""A file of a release: entries, each as ``torch.save`` writes it, hashed while they are written."""

import hashlib
import io
import logging
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from threading import Event
from typing import Any

import torch
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.planner import WriteItem, WriteItemType
from torch.distributed.checkpoint.storage import WriteResult
from torch.serialization import skip_data

from megatron.bridge.release.source.safetensors_reader import FileRange
from megatron.bridge.release.validation.finite import check_finite
from megatron.bridge.release.write.direct_file import DirectFile


logger = logging.getLogger(__name__)

_CHUNK = 2 << 20

# Of the zip format: what follows a file's bytes, and what the directory at the end has of each file.
_DESCRIPTOR, _DIRECTORY = b"PK\x07\x08", b"PK\x01\x02"
_BYTES_OF_TENSOR = b"/data/0"


@dataclass(frozen=True)
class Payload:
    """The payload of an entry.

    Attributes:
        entry: torch's `WriteItem`.
        source: A tensor, or the byte ranges of files that make it up, in order.
    """

    entry: Any
    source: torch.Tensor | Sequence[FileRange]

    def chunks(self, buffer: memoryview) -> Iterator[memoryview]:
        """Yield its bytes, in pieces no longer than the buffer, which is reused.

        Raises:
            OSError: If a file cannot be read.
            ValueError: If a file has changed since its header was read.
        """
        if not isinstance(self.source, torch.Tensor):
            for part in self.source:
                yield from part.chunks(buffer)
            return
        tensor = self.source.contiguous()
        if tensor.numel():
            data = memoryview(tensor.flatten().view(torch.uint8).numpy())
            yield from (data[at : at + len(buffer)] for at in range(0, len(data), len(buffer)))


@dataclass(frozen=True)
class WorkItem:
    """Entries that are converted and written together.

    Attributes:
        entries: torch's `WriteItem` objects.
        size: Their size, in bytes.
        memory: Additional memory that their conversion needs, in bytes.
        payloads: Makes the payloads one by one, so that each can be freed before the next.
    """

    entries: Sequence[Any]
    size: int
    memory: int
    payloads: Callable[[], Iterator[Payload]] = field(compare=False)


class EntryFile(DirectFile):
    """A new file of entries.

    Args:
        path: Its path.
        stop: Set where another thread has failed: this one fails then, too.
        progress: Told of each number of bytes that is written.
    """

    def __init__(self, path: Path, stop: Event, progress: Callable[[int], Any]) -> None:
        super().__init__(path)
        self._stop, self._progress = stop, progress
        self._chunk = memoryview(bytearray(_CHUNK))
        self._sha256 = hashlib.sha256()

    @property
    def digest(self) -> str:
        """The SHA-256 of what was written."""
        return self._sha256.hexdigest()

    def write_entry(self, payload: Payload) -> WriteResult:
        """Write an entry.

        Args:
            payload: Its payload; of the entry that torch's planner has made.

        Returns:
            Where it is.

        Raises:
            OSError: If the file cannot be written, or the payload's read.
            ValueError: If the payload is not what its model's config and files say, or is no number.
        """
        item, begin = payload.entry, self.size
        if item.type == WriteItemType.BYTE_IO:
            self.pump(payload)
        else:
            stands_for = torch.empty(item.tensor_data.chunk.sizes, dtype=item.tensor_data.properties.dtype)
            if stands_for.nbytes and _leaves_room():
                _write_around(self, payload, stands_for)
            else:
                self._fill(stands_for, payload)
                _save(stands_for, _Stream(self))
        length = self.size - begin
        return WriteResult(
            index=item.index, size_in_bytes=length, storage_data=_StorageInfo(self.path.name, begin, length)
        )

    def write(self, data: Any) -> int:
        """Write bytes, all of them."""
        view = memoryview(data).cast("B")
        if self._stop.is_set():
            raise InterruptedError("another thread has stopped")
        self._sha256.update(view)
        return super().write(view)

    def pump(self, payload: Payload) -> int:
        """Write a payload's bytes; give their CRC-32."""
        checksum = 0
        for chunk in self._checked(payload):
            checksum = zlib.crc32(chunk, checksum)
            self.write(chunk)
            self._progress(len(chunk))
        return checksum

    def _fill(self, tensor: torch.Tensor, payload: Payload) -> None:
        """Read a payload's bytes into a tensor."""
        data, done = memoryview(tensor.flatten().view(torch.uint8).numpy()), 0
        for chunk in self._checked(payload):
            data[done : done + len(chunk)] = chunk
            done += len(chunk)
            self._progress(len(chunk))
        if done != tensor.nbytes:
            raise ValueError(f"{payload.entry.index.fqn} is {done} bytes, and {tensor.nbytes} were planned.")

    def _checked(self, payload: Payload) -> Iterator[memoryview]:
        item: WriteItem = payload.entry
        dtype = item.tensor_data.properties.dtype if item.tensor_data else torch.uint8
        for chunk in payload.chunks(self._chunk):
            check_finite(torch.frombuffer(chunk, dtype=dtype), item.index.fqn)
            yield chunk


class _Stream:
    """A file object for ``torch.save``.

    Attributes:
        failure: The first error.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self.failure: BaseException | None = None

    def write(self, data: Any) -> int:
        """See io.RawIOBase."""
        with self._noting():
            return int(self._file.write(data))

    def flush(self) -> None:
        """See io.RawIOBase. Nothing is kept back."""

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.failure = self.failure or error
            raise


def _save(tensor: torch.Tensor, stream: _Stream) -> None:
    """Save a tensor, and raise the file's own error if there is one."""
    try:
        torch.save(tensor, stream)  # type: ignore[arg-type,unused-ignore]
    except RuntimeError as error:
        # torch raises an error of its own over one of the file's.
        raise stream.failure or error from None
    finally:
        # The error's frames hold torch's writer, and that the stream: a ring that no collector sees through.
        stream.failure = None


def _write_around(file: Any, payload: Payload, stands_for: torch.Tensor) -> None:
    """Write a tensor with ``torch.save``, and its bytes, which it does not hold, in the room that is left for them."""
    archive = _Archive(file, payload)
    with skip_data():
        _save(stands_for, archive)
    archive.require_complete()


@cache
def _leaves_room() -> bool:
    """Return whether this torch writes archives as `_Archive` expects; if not, tensors are written from memory."""
    tensor = torch.arange(64, dtype=torch.int64)
    file = _Memory(tensor.numpy().tobytes())
    try:
        _write_around(file, Payload(None, tensor), torch.empty_like(tensor))
        found = torch.load(io.BytesIO(file.data), weights_only=True)
        with zipfile.ZipFile(io.BytesIO(file.data)) as archive:
            known = torch.equal(found, tensor) and archive.testzip() is None
    except Exception:
        # Another version of torch may write it in any way.
        known = False
    if not known:
        logger.warning(
            "torch %s writes archives in an unknown way: tensors are written from memory", torch.__version__
        )
    return known


class _Memory:
    """A file in memory, with the methods that `_Archive` uses."""

    def __init__(self, payload: bytes) -> None:
        self.data, self._payload = bytearray(), payload

    @property
    def size(self) -> int:
        return len(self.data)

    def write(self, data: Any) -> int:
        self.data += data
        return len(data)

    def pump(self, payload: Payload) -> int:
        self.write(self._payload)
        return zlib.crc32(self._payload)


class _Archive(_Stream):
    """A file object to which ``torch.save`` writes an archive without the bytes of its tensor.

    When ``torch.save`` skips them (`torch.serialization.skip_data`), this writes the bytes, and later their CRC-32.
    """

    def __init__(self, file: Any, payload: Payload) -> None:
        super().__init__(file)
        self._payload, self._begin = payload, file.size
        self._checksum: int | None = None
        self._places = 0

    def write(self, data: Any) -> int:
        """See io.RawIOBase."""
        with self._noting():
            return int(self._file.write(data if self._checksum is None else self._with_checksum(bytes(data))))

    def seek(self, offset: int, whence: int) -> int:
        """See io.RawIOBase."""
        if self._checksum is not None or whence != os.SEEK_CUR:
            raise RuntimeError("torch.save leaves room for a tensor in an unexpected way.")
        with self._noting():
            begin = self._file.size
            self._checksum = self._file.pump(self._payload)
            if self._file.size - begin != offset:
                raise ValueError(
                    f"{self._payload.entry.index.fqn} is {self._file.size - begin} bytes, and {offset} were planned."
                )
        return self.tell()

    def tell(self) -> int:
        """See io.RawIOBase."""
        return int(self._file.size - self._begin)

    def require_complete(self) -> None:
        """Require that the bytes were written, and their checksum after them and in the directory."""
        if self._checksum is None or self._places != 2:
            raise RuntimeError("torch.save wrote a tensor in an unexpected way.")

    def _with_checksum(self, data: bytes) -> bytes:
        """Put the checksum of the tensor's bytes where it belongs: both places are each written at once."""
        assert self._checksum is not None
        checksum = self._checksum.to_bytes(4, "little")
        if data.startswith(_DESCRIPTOR) and not self._places:
            self._places = 1
            return data[:4] + checksum + data[8:]
        at = 0
        while data.startswith(_DIRECTORY, at):
            lengths = [int.from_bytes(data[at + field : at + field + 2], "little") for field in (28, 30, 32)]
            end = at + 46 + sum(lengths)
            if data[at + 46 : at + 46 + lengths[0]].endswith(_BYTES_OF_TENSOR):
                self._places += 1
                return data[: at + 16] + checksum + data[at + 20 :]
            at = end
        return data
