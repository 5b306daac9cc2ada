# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""A file of a release: its entries, each in the format of `torch.save`, hashed while they are written.

A tensor whose bytes are in files is not loaded: `torch.save` writes an archive without them (`skip_data`), and they are
copied into the gap. If this torch lays out archives in another way, each tensor is loaded and saved with `torch.save`.
"""

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
from torch.distributed.checkpoint.planner import WriteItem, WriteItemType
from torch.distributed.checkpoint.storage import WriteResult

from megatron.bridge.release.compat.torch_api import StorageInfo, skip_data
from megatron.bridge.release.source.safetensors_reader import ByteRange
from megatron.bridge.release.validation.finite import check_finite
from megatron.bridge.release.write.direct_file import DirectFile


logger = logging.getLogger(__name__)

_CHUNK = 2 << 20

# Signatures of the zip format: a data descriptor, and an entry of the central directory.
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
    source: torch.Tensor | Sequence[ByteRange]

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
        stop: Set when another thread has failed, so that this one stops.
        progress: Called with each number of payload bytes that is written.
    """

    def __init__(self, path: Path, stop: Event, progress: Callable[[int], Any]) -> None:
        super().__init__(path)
        self._stop, self._progress = stop, progress
        self._chunk = memoryview(bytearray(_CHUNK))
        self._sha256 = hashlib.sha256()

    @property
    def digest(self) -> str:
        """The SHA-256 of the file."""
        return self._sha256.hexdigest()

    def write_entry(self, payload: Payload) -> WriteResult:
        """Write an entry, and return where it is.

        Raises:
            OSError: If the file cannot be written, or the payload cannot be read.
            NonFiniteError: If the payload contains NaN or Inf.
            ValueError: If a source file has changed.
        """
        item, begin = payload.entry, self.size
        if item.type == WriteItemType.BYTE_IO:
            self.pump(payload)
        else:
            # Its memory is never touched unless it is filled.
            tensor = torch.empty(item.tensor_data.chunk.sizes, dtype=item.tensor_data.properties.dtype)
            # skip_data() does not support empty tensors.
            if tensor.nbytes and is_layout_known():
                _save_around(self, payload, tensor)
            else:
                self._fill(tensor, payload)
                _save(tensor, _Stream(self))
        length = self.size - begin
        return WriteResult(
            index=item.index, size_in_bytes=length, storage_data=StorageInfo(self.path.name, begin, length)
        )

    def write(self, data: Any) -> int:
        """Write all bytes, and return their number."""
        view = memoryview(data).cast("B")
        if self._stop.is_set():
            raise InterruptedError("another thread has stopped")
        self._sha256.update(view)
        return super().write(view)

    def pump(self, payload: Payload) -> int:
        """Write the bytes of a payload, and return their CRC-32."""
        checksum = 0
        for chunk in self._checked(payload):
            checksum = zlib.crc32(chunk, checksum)
            self.write(chunk)
            self._progress(len(chunk))
        return checksum

    def _fill(self, tensor: torch.Tensor, payload: Payload) -> None:
        """Read the bytes of a payload into a tensor."""
        data, done = memoryview(tensor.flatten().view(torch.uint8).numpy()), 0
        for chunk in self._checked(payload):
            data[done : done + len(chunk)] = chunk
            done += len(chunk)
            self._progress(len(chunk))
        if done != tensor.nbytes:
            raise _wrong_size(payload, done, tensor.nbytes)

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
        with self._note_failure():
            return int(self._file.write(data))

    def flush(self) -> None:
        """See io.RawIOBase."""

    @contextmanager
    def _note_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.failure = self.failure or error
            raise


def _save(tensor: torch.Tensor, stream: _Stream) -> None:
    """Save a tensor with `torch.save`, and raise the error of the file instead of torch's."""
    try:
        torch.save(tensor, stream)  # type: ignore[arg-type,unused-ignore]
    except RuntimeError as error:
        # torch replaces errors of the file.
        raise stream.failure or error from None
    finally:
        # Break the reference cycle through the traceback so that the buffers are freed.
        stream.failure = None


def _save_around(file: Any, payload: Payload, tensor: torch.Tensor) -> None:
    """Write an archive as `torch.save` does for a tensor, with the bytes of a payload."""
    archive = _Archive(file, payload)
    with skip_data():
        _save(tensor, archive)
    archive.require_complete()


@cache
def is_layout_known() -> bool:
    """Return whether this torch writes archives as `_Archive` expects."""
    tensor = torch.arange(64, dtype=torch.int64)
    file = _Memory(tensor.numpy().tobytes())
    try:
        _save_around(file, Payload(None, tensor), torch.empty_like(tensor))
        found = torch.load(io.BytesIO(file.data), weights_only=True)
        with zipfile.ZipFile(io.BytesIO(file.data)) as archive:
            is_known = torch.equal(found, tensor) and archive.testzip() is None
    except Exception:
        # Another version of torch may raise anything.
        is_known = False
    if not is_known:
        logger.warning(
            "torch %s writes archives in an unknown layout; the import loads each tensor into memory",
            torch.__version__,
        )
    return is_known


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
    """A file object for `torch.save` with `skip_data`: when it skips the bytes of the tensor, they are copied from a payload.

    Later it replaces their CRC-32, which torch has computed without them.
    """

    def __init__(self, file: Any, payload: Payload) -> None:
        super().__init__(file)
        self._payload, self._begin = payload, file.size
        self._checksum: int | None = None
        self._patched = 0

    def write(self, data: Any) -> int:
        """See io.RawIOBase."""
        with self._note_failure():
            return int(self._file.write(data if self._checksum is None else self._with_checksum(bytes(data))))

    def seek(self, offset: int, whence: int) -> int:
        """See io.RawIOBase."""
        if self._checksum is not None or whence != os.SEEK_CUR:
            raise RuntimeError("torch.save skips the bytes of a tensor in an unexpected way.")
        with self._note_failure():
            begin = self._file.size
            self._checksum = self._file.pump(self._payload)
            if self._file.size - begin != offset:
                raise _wrong_size(self._payload, self._file.size - begin, offset)
        return self.tell()

    def tell(self) -> int:
        """See io.RawIOBase."""
        return int(self._file.size - self._begin)

    def require_complete(self) -> None:
        """Require that the bytes and both copies of their CRC-32 were written."""
        if self._checksum is None or self._patched != 2:
            raise RuntimeError("torch.save wrote a tensor in an unexpected way.")

    def _with_checksum(self, data: bytes) -> bytes:
        """Replace the CRC-32 in the data descriptor and in the central directory. torch writes each of them at once."""
        assert self._checksum is not None
        checksum = self._checksum.to_bytes(4, "little")
        if data.startswith(_DESCRIPTOR) and not self._patched:
            self._patched = 1
            return data[:4] + checksum + data[8:]
        at = 0
        while data.startswith(_DIRECTORY, at):
            lengths = [int.from_bytes(data[at + field : at + field + 2], "little") for field in (28, 30, 32)]
            end = at + 46 + sum(lengths)
            if data[at + 46 : at + 46 + lengths[0]].endswith(_BYTES_OF_TENSOR):
                self._patched += 1
                return data[: at + 16] + checksum + data[at + 20 :]
            at = end
        return data


def _wrong_size(payload: Payload, found: int, expected: int) -> RuntimeError:
    return RuntimeError(
        f"Internal error: {payload.entry.index.fqn} has {found} bytes, expected {expected}. Please report this bug."
    )
