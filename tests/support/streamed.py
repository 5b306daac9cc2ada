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

"""Streamed releases, and what a save of the loaded model writes beside them."""

import io
from pathlib import Path
from typing import Any

import torch
from hf_tensors import same_bits
from megatron.core.dist_checkpointing.serialization import load_common_state_dict
from torch.distributed.checkpoint import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

from megatron.bridge import AutoBridge
from megatron.bridge.release.validation.fidelity import check_fidelity
from megatron.bridge.release.write.streaming import streamed_model, weights_of
from megatron.bridge.training.model_load_save import temporary_distributed_context


class CutWrites:
    """A file that gets the writes of another torch, cut at other places."""

    def __init__(self, file, size: int) -> None:
        self._file, self._size = file, size
        self.seek = getattr(file, "seek", None)
        self.tell, self.flush = getattr(file, "tell", None), file.flush

    def write(self, data) -> int:
        data = bytes(data)
        for at in range(0, len(data), self._size):
            self._file.write(data[at : at + self._size])
        return len(data)


def read_entries(folder: Path) -> dict[tuple[str, tuple[int, ...]], Any]:
    """Read every entry of a checkpoint folder, by its key and its place in the tensor."""
    metadata = FileSystemReader(folder).read_metadata()
    found = {}
    for index, place in metadata.storage_data.items():
        with open(folder / place.relative_path, "rb") as file:
            file.seek(place.offset)
            data = file.read(place.length)
        key = (index.fqn, tuple(index.offset or ()))
        try:
            found[key] = torch.load(io.BytesIO(data), weights_only=True)
        except Exception:
            found[key] = data
    return found


def assert_same_checkpoint(one: Path, other: Path, world_size: int = 1) -> None:
    """Assert that two checkpoint folders have the same metadata, common state and tensors.

    Args:
        one: A folder that one rank wrote.
        other: The other folder.
        world_size: How many ranks wrote that.
    """
    expected, found = (FileSystemReader(folder).read_metadata() for folder in (one, other))
    for metadata in (expected, found) if world_size > 1 else ():
        # In the order of the ranks that wrote them.
        for tensor in metadata.state_dict_metadata.values():
            if isinstance(tensor, TensorStorageMetadata):
                tensor.chunks.sort(key=lambda chunk: chunk.offsets)
    assert found.state_dict_metadata == expected.state_dict_metadata
    assert found.planner_data == expected.planner_data
    entries, others = read_entries(one), read_entries(other)
    assert entries.keys() == others.keys() and len(entries) > 10
    tensors = 0
    for key, entry in entries.items():
        if isinstance(entry, torch.Tensor):
            tensors += 1
            assert same_bits(others[key], entry), key
    assert tensors > 10
    commons = [load_common_state_dict(str(folder)) for folder in (one, other)]
    sizes = dict.fromkeys(("world_size", "data_parallel_size", "inprocess_active_world_size"), world_size)
    assert vars(commons[0].pop("args")) | sizes == vars(commons[1].pop("args"))
    assert commons[0] == commons[1]


def save_loaded(hf: Path, root: Path) -> None:
    """Load the model whole, as upstream's code does, and save it."""
    bridge = AutoBridge.from_hf_pretrained(hf)
    with temporary_distributed_context(backend="gloo"):
        model = bridge.to_megatron_model(wrap_with_ddp=False, use_cpu_initialization=True)
        assert weights_of(model) is None
        bridge.save_megatron_model(model, root, hf_tokenizer_path=hf, release=True)


def begin_streaming(hf: Path) -> tuple[AutoBridge, list[Any]]:
    """Check a model and build it without its weights; give its bridge and the parts of the model."""
    bridge = AutoBridge.from_hf_pretrained(hf)
    model = streamed_model(bridge, check_fidelity(bridge))
    assert model is not None
    return bridge, model
