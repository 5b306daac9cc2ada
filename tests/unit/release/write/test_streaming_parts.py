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

"""What a streamed import is made of: parts of files, the entries that it writes, and each rank's share."""

import hashlib
import io
import os
import threading
import zipfile
from itertools import product
from unittest.mock import MagicMock

import pytest
import torch
from hf_tensors import same_bits
from safetensors.torch import save_file
from streamed import CutWrites
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex, TensorProperties
from torch.distributed.checkpoint.planner import TensorWriteData, WriteItem, WriteItemType

from megatron.bridge.release.source.safetensors_index import read_index
from megatron.bridge.release.source.safetensors_reader import ByteRange, SafetensorsReader, file_fingerprint
from megatron.bridge.release.validation.model_errors import NonFiniteError
from megatron.bridge.release.write import entry_file
from megatron.bridge.release.write.entry_file import EntryFile, Payload
from megatron.bridge.release.write.streaming import weights_of
from megatron.bridge.release.write.writer import balance


def test_byte_range_is_read_in_chunks(tmp_path):
    (tmp_path / "file").write_bytes(bytes(range(200)))
    part = ByteRange(tmp_path / "file", file_fingerprint(os.stat(tmp_path / "file")), 10, 100).cut(5, 50)
    pieces = [bytes(piece) for piece in part.chunks(memoryview(bytearray(16)))]
    assert [len(piece) for piece in pieces] == [16, 16, 16, 2]
    assert b"".join(pieces) == bytes(range(15, 65)) == bytes(part.read())


def test_tensors_of_files_are_those_of_safetensors(tmp_path):
    tensors = {
        "scalar": torch.tensor(3.5),
        "nothing": torch.empty(0, 4, dtype=torch.bfloat16),
        "whole": torch.arange(24, dtype=torch.int64).reshape(2, 3, 4),
        "half": torch.randn(5, 7).to(torch.float16),
        "eighth": torch.randn(3, 3).to(torch.float8_e4m3fn),
    }
    save_file(tensors, tmp_path / "model.safetensors")
    files = SafetensorsReader(tmp_path, read_index(tmp_path))
    found = files.load_tensors(list(tensors))
    for name, tensor in tensors.items():
        assert same_bits(found[name], tensor)
    files.require_unchanged()


@pytest.fixture
def cut(request, monkeypatch) -> int | None:
    """This torch, and others whose zip writer cuts its writes in another way."""
    save, size = torch.save, request.param
    if size is not None:
        monkeypatch.setattr(entry_file.torch, "save", lambda value, file: save(value, CutWrites(file, size)))
    entry_file.is_layout_known.cache_clear()
    yield size
    entry_file.is_layout_known.cache_clear()


SMALL = torch.empty(0, 4), torch.tensor(3.5), torch.arange(7), torch.randn(3, 5).bfloat16()


@pytest.mark.parametrize(
    ("cut", "tensor"),
    # The large tensor does not fit into a buffer. A byte at a time, it takes a minute.
    [*product((None, 1, 7, 100), SMALL), *product((None, 100), [torch.randn(700, 3000)])],
    ids=lambda value: f"{tuple(value.shape)}" if isinstance(value, torch.Tensor) else value,
    indirect=["cut"],
)
def test_entry_matches_torch_save(tensor, tmp_path, cut):
    """With the checksum of its bytes; the ID that torch makes of a file's checksums is another one."""
    sizes = TensorWriteData(
        ChunkStorageMetadata(tensor.shape, tensor.shape), TensorProperties(tensor.dtype), tensor.shape
    )
    item = WriteItem(MetadataIndex("key"), WriteItemType.SHARD, tensor_data=sizes)
    written: list[int] = []
    with EntryFile(tmp_path / "file", threading.Event(), written.append) as file:
        begin = file.write(b"before")
        result = file.write_entry(Payload(item, tensor))
    data = (tmp_path / "file").read_bytes()
    assert hashlib.sha256(data).hexdigest() == file.digest and sum(written) == tensor.nbytes
    assert (result.storage_data.offset, result.storage_data.length) == (begin, len(data) - begin)
    assert entry_file.is_layout_known() is (cut is None)
    expected, found = io.BytesIO(), io.BytesIO(data[begin:])
    torch.save(tensor, expected)
    assert torch.equal(torch.load(found, weights_only=True), tensor)
    with zipfile.ZipFile(expected) as one, zipfile.ZipFile(found) as other:
        assert other.testzip() is None and other.namelist() == one.namelist()
        for name in one.namelist():
            assert name.endswith("serialization_id") or other.read(name) == one.read(name), name
            assert name.endswith("serialization_id") or other.getinfo(name).CRC == one.getinfo(name).CRC, name


def test_mocked_model_has_no_streamed_weights():
    assert weights_of([MagicMock()]) is None and weights_of([]) is None


def test_things_are_shared_evenly_and_alike_everywhere():
    sizes = [5, 100, 7, 30, 30, 40, 1, 0]
    shares = balance("abcdefgh", sizes, 3)
    assert shares == balance("abcdefgh", sizes, 3)
    assert sorted("".join("".join(mine) for mine in shares)) == list("abcdefgh")
    assert [sum(sizes["abcdefgh".index(one)] for one in mine) for mine in shares] == [100, 53, 60]
    assert balance([], [], 2) == [[], []]


@pytest.mark.parametrize("cut", [None, 1, 7, 100], indirect=True)
@pytest.mark.parametrize("values", [[0.0, float("nan")], [float("inf"), 0.0]])
def test_values_that_are_no_numbers_are_refused_by_every_torch(values, tmp_path, cut):
    tensor = torch.tensor(values)
    sizes = TensorWriteData(
        ChunkStorageMetadata(tensor.shape, tensor.shape), TensorProperties(tensor.dtype), tensor.shape
    )
    item = WriteItem(MetadataIndex("key"), WriteItemType.SHARD, tensor_data=sizes)
    with pytest.raises(NonFiniteError):
        with EntryFile(tmp_path / "file", threading.Event(), lambda size: None) as file:
            file.write_entry(Payload(item, tensor))
