# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0


"""Finds the parameters of a checkpoint that are bit for bit what an import writes, without loading them.

The bytes that an import would write are compared with the checkpoint's files. Parameters that differ, or whose conversion
is not streamed, are left to `megatron.bridge.release.verify.weights`, which says why there are both.
"""

import math
import os
import pickle
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from megatron.core.dist_checkpointing.mapping import ShardedTensor
from megatron.core.utils import unwrap_model
from tqdm import tqdm

from megatron.bridge.models.hf_pretrained.state import SafeTensorsStateSource
from megatron.bridge.release.errors import CorruptFileError
from megatron.bridge.release.source.safetensors_index import read_index
from megatron.bridge.release.source.safetensors_reader import ByteRange, file_fingerprint
from megatron.bridge.release.validation.fidelity import FidelityReport
from megatron.bridge.release.validation.tensors import check_tensors
from megatron.bridge.release.verify.dcp_metadata import Entry, read_metadata
from megatron.bridge.release.verify.torch_zip import find_tensor_bytes, open_part
from megatron.bridge.release.write.entry_file import Payload
from megatron.bridge.release.write.streaming import StreamedWeights, entries_of, try_streamed_model, weights_of


_CHUNK = 2 << 20
_STORAGES = {
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "DoubleStorage": torch.float64,
}
# Errors of a corrupt file, or of values that a conversion refuses.
_UNREADABLE = (
    OSError,
    ValueError,
    RuntimeError,
    EOFError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    CorruptFileError,
)
_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass
class IdenticalWeights:
    """Parameters of a checkpoint that are bit for bit what an import writes, and the source tensors they come from."""

    parameters: set[str] = field(default_factory=set)
    tensors: set[str] = field(default_factory=set)


def find_identical(folder: Path, bridge: Any) -> IdenticalWeights:
    """Find the parameters of a checkpoint that are what an import writes; none if it refuses or does not stream the model."""
    identical, source = IdenticalWeights(), bridge.hf_pretrained.state.source
    if not isinstance(source, SafeTensorsStateSource):
        return identical
    headers = read_index(source.path)
    # A conversion assumes the shapes that an import requires. Unused tensors do not matter here.
    coverage = check_tensors(bridge, headers, ["*"])
    if coverage.problems:
        return identical
    model, _ = try_streamed_model(bridge, FidelityReport((), headers, coverage))
    weights = weights_of(model or ())
    if model is None or weights is None:
        return identical
    stored = _Stored(folder)
    try:
        groups = _groups(model, weights)
        total = sum(entry.data.nbytes for entries in groups for entry in entries)
        with tqdm(desc="compare", total=total, unit="B", unit_scale=True, disable=None, leave=False) as progress:
            for entries in groups:
                weights.read.clear()
                if _is_identical(weights, entries, stored):
                    identical.parameters.update(weights.parameter(entry.data) for entry in entries)
                    identical.tensors.update(weights.read)
                progress.update(sum(entry.data.nbytes for entry in entries))
    finally:
        stored.close()
    return identical


def _groups(model: list[Any], weights: StreamedWeights) -> list[list[ShardedTensor]]:
    """Return the entries of a model in groups that are converted together."""
    (module,) = unwrap_model(model)
    groups: dict[str | int, dict[tuple[str, tuple[int, ...]], ShardedTensor]] = {}
    for entry in entries_of(module):
        if (group := weights.group(entry.data)) is not None:
            # A tied output layer has the embedding's entry.
            groups.setdefault(group, {}).setdefault((entry.key, entry.global_offset), entry)
    return [list(entries.values()) for entries in groups.values()]


def _is_identical(weights: StreamedWeights, entries: list[ShardedTensor], stored: "_Stored") -> bool:
    try:
        item = weights.work_item([(entry, entry.data) for entry in entries])
        return all(stored.matches(payload) for payload in item.payloads())
    except _UNREADABLE:
        # The comparison by name raises it again.
        return False


class _Stored:
    """The tensors in the files of a checkpoint."""

    def __init__(self, folder: Path) -> None:
        metadata = read_metadata(folder)
        self._folder, self._tensors = folder, metadata.tensors
        self._entries = {(entry.key, entry.at): entry for entry in metadata.entries}
        self._files: dict[str, Any] = {}
        self._buffers = memoryview(bytearray(_CHUNK)), memoryview(bytearray(_CHUNK))

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def matches(self, payload: Payload) -> bool:
        """Return whether the checkpoint contains the values of an entry."""
        entry: ShardedTensor = payload.entry
        tensor, shape = self._tensors.get(entry.key), (1,) * entry.prepend_axis_num + entry.local_shape
        if tensor is None:
            return False
        # Rows that pad the vocabulary do not belong to the model.
        if tensor.shape != entry.global_shape and not (
            entry.allow_shape_mismatch
            and tensor.shape[1:] == entry.global_shape[1:]
            and tensor.shape[0] > entry.global_shape[0]
        ):
            return False
        if (entry.global_offset, shape) in tensor.chunks:
            values = self._values(self._entries[entry.key, entry.global_offset], entry.dtype)
            if values is not None:
                return values.length == entry.data.nbytes and self._has_bytes(payload, values)
        return self._overlaps(payload, shape)

    def _file(self, name: str) -> Any:
        if name not in self._files:
            self._files[name] = open(self._folder / name, "rb", buffering=0)
        return self._files[name]

    def _values(self, entry: Entry, dtype: torch.dtype) -> ByteRange | None:
        file = self._file(entry.file)
        values = find_tensor_bytes(file, entry.offset, entry.length)
        if values is None or _STORAGES.get(values.storage) != dtype:
            return None
        return ByteRange(
            self._folder / entry.file, file_fingerprint(os.fstat(file.fileno())), values.offset, values.length
        )

    def _has_bytes(self, payload: Payload, values: ByteRange) -> bool:
        expected, found = self._buffers
        done = 0
        for piece in payload.chunks(expected):
            for other in values.cut(done, len(piece)).chunks(found):
                # NumPy compares in this thread; torch would use all cores for each piece.
                if not np.array_equal(np.frombuffer(piece, np.uint8), np.frombuffer(other, np.uint8)):
                    return False
            done += len(piece)
        return done == values.length

    def _overlaps(self, payload: Payload, shape: tuple[int, ...]) -> bool:
        """Compare with chunks of other shapes or dtypes, which are cast to the entry's."""
        entry: ShardedTensor = payload.entry
        expected = self._as_tensor(payload).view(shape)
        covered = 0
        for at, size in self._tensors[entry.key].chunks:
            first = tuple(map(max, at, entry.global_offset))
            last = [min(a + n, b + m) for a, n, b, m in zip(at, size, entry.global_offset, shape)]
            if any(begin >= end for begin, end in zip(first, last)):
                continue
            stored = self._entries[entry.key, at]
            with open_part(self._file(stored.file), stored.offset, stored.length) as part:
                found = torch.load(part, map_location="cpu", weights_only=True).view(size).to(entry.dtype)
            boxes = (
                tensor[tuple(slice(begin - o, end - o) for begin, end, o in zip(first, last, origin))]
                for tensor, origin in ((expected, entry.global_offset), (found, at))
            )
            if not torch.equal(*(bits(box) for box in boxes)):
                return False
            covered += math.prod(end - begin for begin, end in zip(first, last))
        return covered == expected.numel()

    def _as_tensor(self, payload: Payload) -> torch.Tensor:
        if isinstance(payload.source, torch.Tensor):
            return payload.source.contiguous()
        tensor: torch.Tensor = torch.empty(payload.entry.local_shape, dtype=payload.entry.dtype)
        data, done = memoryview(tensor.flatten().view(torch.uint8).numpy()), 0
        for part in payload.source:
            for _ in part.chunks(data[done : done + part.length]):
                done += part.length
        return tensor


def bits(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor's bits as integers: -0.0 differs from 0.0, and a NaN equals itself."""
    return tensor.contiguous().view(_INTEGERS[tensor.element_size()])
