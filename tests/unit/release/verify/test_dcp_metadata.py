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

"""The metadata and the states of a checkpoint are read without torch, and nothing that they name is run."""

import os
import pickle
from argparse import Namespace

import pytest
from attack import Attack
from roots import SHARD

from megatron.bridge.release.errors import CorruptFileError
from megatron.bridge.release.verify.dcp_metadata import (
    Entry,
    Metadata,
    Tensor,
    read_embedded_common_state,
    read_metadata,
    read_state,
    verify_entries,
)


FFN = "decoder.layers.mlp.linear_fc2.weight"


def test_metadata_contains_tensors_chunks_and_entries(release, shapes):
    metadata = read_metadata(release.folder)
    assert {key: tensor.shape for key, tensor in metadata.tensors.items()} == shapes
    assert metadata.tensors[FFN].chunks == (((0, 0, 0), (1, 4, 5)), ((1, 0, 0), (1, 4, 5)))
    assert metadata.objects == () and metadata.common_entry() is None and metadata.keys_without_storage() == []
    assert [entry.at for entry in metadata.entries if entry.key == FFN] == [(0, 0, 0), (1, 0, 0)]
    ends = [0, *(entry.offset + entry.length for entry in metadata.entries)]
    assert [entry.offset for entry in metadata.entries] == ends[:-1]
    assert metadata.sizes() == {SHARD: ends[-1]} == {SHARD: (release.folder / SHARD).stat().st_size}


def test_read_state_matches_torch_load(release, args):
    import torch

    state = torch.load(release.folder / "common.pt", weights_only=False)
    assert vars(state["args"]) == args == vars(read_state(release.folder)["args"])
    release.write_step(-3)
    assert read_state(release.folder, "train_state.pt") == {"step": -3}
    assert int(torch.load(release.folder / "train_state.pt", weights_only=True)["step"]) == -3


def test_embedded_common_state_is_read(release, shapes, args):
    release.write_tensors(shapes, {"args": Namespace(**args), "iteration": 0})
    metadata = read_metadata(release.folder)
    assert metadata.objects == ("common_state/shard_0_1",) and metadata.common_entry().at is None
    assert vars(read_embedded_common_state(release.folder, metadata)["args"]) == args
    release.write_tensors(shapes)
    assert read_embedded_common_state(release.folder, read_metadata(release.folder)) is None


def test_truncated_embedded_common_state_is_corrupt(release, shapes):
    release.write_tensors(shapes, {"iteration": 0})
    os.truncate(release.folder / SHARD, (release.folder / SHARD).stat().st_size - 1)
    with pytest.raises(CorruptFileError) as raised:
        read_embedded_common_state(release.folder, read_metadata(release.folder))
    assert raised.value.file == f"common_state/shard_0_1 in {SHARD}"


def _metadata(entries: tuple[Entry, ...]) -> Metadata:
    tensor = Tensor((2, 3), (((0, 0), (1, 3)), ((1, 0), (1, 3))))
    return Metadata({"tensor": tensor}, ("object",), entries)


ENTRIES = (
    Entry("tensor", (0, 0), "a", 0, 5),
    Entry("tensor", (1, 0), "b", 7, 5),
    Entry("object", None, "a", 5, 2),
)


def test_keys_without_storage_and_file_sizes():
    assert _metadata(ENTRIES).keys_without_storage() == [] and _metadata(ENTRIES).sizes() == {"a": 7, "b": 12}
    for lacking, key in zip(ENTRIES, ("tensor", "tensor", "object")):
        assert _metadata(tuple(entry for entry in ENTRIES if entry is not lacking)).keys_without_storage() == [key]


@pytest.mark.parametrize("chunks", [(), (((0, 0), (1, 3)),), (((0, 0), (1, 3)), ((1, 0), (2, 3)))])
def test_chunks_must_cover_their_tensor(chunks):
    entries = tuple(Entry("tensor", at, "a", 0, 5) for at, _ in chunks)
    assert Metadata({"tensor": Tensor((2, 3), chunks)}, (), entries).keys_without_storage() == ["tensor"]


@pytest.mark.parametrize("part", [0, 1 / 4, 1 / 2, 3 / 4])
def test_truncated_metadata_is_corrupt(release, part):
    file = release.folder / ".metadata"
    os.truncate(file, int(part * file.stat().st_size))
    with pytest.raises(CorruptFileError) as raised:
        read_metadata(release.folder)
    assert raised.value.file == ".metadata"


def test_longer_or_missing_metadata_is_corrupt(release):
    file = release.folder / ".metadata"
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(CorruptFileError) as raised:
        read_metadata(release.folder)
    assert (raised.value.file, raised.value.reason) == (".metadata", "trailing data after the pickle")
    file.unlink()
    with pytest.raises(CorruptFileError) as raised:
        read_metadata(release.folder)
    assert (raised.value.file, raised.value.reason) == (".metadata", "No such file or directory")


@pytest.mark.parametrize("name", [".metadata", "common.pt"])
def test_unpickling_executes_no_code(release, tmp_path, name):
    marker = tmp_path / "run"
    if name == ".metadata":
        (release.folder / name).write_bytes(pickle.dumps(Attack(marker)))
    else:
        release.write_state(name, {"args": Attack(marker)})
    with pytest.raises(CorruptFileError) as raised:
        read_metadata(release.folder) if name == ".metadata" else read_state(release.folder)
    assert (raised.value.file, "posix.system" in raised.value.reason) == (name, True)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "No such file or directory"),
        (b"", "File is not a zip file"),
        ([1], "it contains a list, not a dictionary"),
    ],
)
def test_missing_or_invalid_state_is_corrupt(release, content, expected):
    (release.folder / "common.pt").unlink()
    if isinstance(content, list):
        release.write_state("common.pt", content)
    elif content is not None:
        (release.folder / "common.pt").write_bytes(content)
    with pytest.raises(CorruptFileError) as raised:
        read_state(release.folder)
    assert (raised.value.file, raised.value.reason) == ("common.pt", expected)


def test_verify_entries_finds_each_checksum_mismatch(release):
    entries, shard = read_metadata(release.folder).entries, release.folder / SHARD
    data = shard.read_bytes()
    assert list(verify_entries(release.folder, entries)) == [(entry, None) for entry in entries]
    for damaged in entries:
        values = data.index(bytes(range(24)), damaged.offset)
        shard.write_bytes(data[:values] + b"\1" + data[values + 1 :])
        found = dict(verify_entries(release.folder, entries))
        assert found == {entry: "checksum mismatch in archive/data/0" if entry is damaged else None for entry in found}


def test_verify_entries_reports_truncated_and_missing_file(release):
    *_, last = entries = read_metadata(release.folder).entries
    os.truncate(release.folder / SHARD, last.offset + last.length - 1)
    assert [entry for entry, damage in verify_entries(release.folder, entries) if damage] == [last]
    (release.folder / SHARD).unlink()
    assert {damage for _, damage in verify_entries(release.folder, entries)} == {"No such file or directory"}


@pytest.mark.parametrize("shape", [(-1,), (2, -3), (1.5,), ("2",)])
def test_invalid_shape_is_corrupt(release, shape):
    release.write_shape(shape)
    with pytest.raises(CorruptFileError) as raised:
        read_metadata(release.folder)
    assert (raised.value.file, raised.value.reason) == (".metadata", f"invalid shape {shape}")
