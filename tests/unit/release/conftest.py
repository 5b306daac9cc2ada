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

"""A small release, written without torch, for tests to look at and to spoil."""

import io
import json
import pickle
import zipfile
from argparse import Namespace
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import pytest
from roots import SHARD

from megatron.bridge.release.layout import TRACKER, TRAIN_STATE_TRACKER
from megatron.bridge.release.manifest import write_manifest
from megatron.bridge.release.megatron_args.flag_table import ARGUMENTS
from megatron.bridge.release.source.provenance import SourceRecord, write_source
from megatron.bridge.release.verify.args import NEEDED_ARGS


METADATA_MODULE = "torch.distributed.checkpoint.metadata"
COMMON_KEY = "common_state/shard_0_1"
# By their keys; layers that are alike share one.
SHAPES = {
    "embedding.word_embeddings.weight": (8, 4),
    "output_layer.weight": (8, 4),
    "decoder.layers.self_attention.linear_proj.weight": (2, 4, 6),
    "decoder.layers.mlp.linear_fc2.weight": (2, 4, 5),
}
ARGS: dict[str, Any] = dict.fromkeys(NEEDED_ARGS) | {argument.name: argument.default for argument in ARGUMENTS}
ARGS |= {
    "num_layers": 2,
    "hidden_size": 4,
    "ffn_hidden_size": 5,
    "num_attention_heads": 2,
    "kv_channels": 3,
    "seq_length": 2048,
    "max_position_embeddings": 2048,
    "padded_vocab_size": 8,
    "vocab_size": 8,
    "make_vocab_size_divisible_by": 8,
    "untie_embeddings_and_output_weights": True,
    "tokenizer_model": "org/name",
}


# Megatron-LM's flags of these args.
FLAGS = (
    *("--num-layers=2", "--hidden-size=4", "--ffn-hidden-size=5", "--num-attention-heads=2", "--num-query-groups=1"),
    *("--kv-channels=3", "--seq-length=2048", "--max-position-embeddings=2048"),
    *("--position-embedding-type=learned_absolute", "--rotary-base=10000", "--rotary-percent=1.0"),
    *("--normalization=LayerNorm", "--norm-epsilon=1e-05", "--untie-embeddings-and-output-weights"),
    *("--attention-dropout=0.1", "--hidden-dropout=0.1"),
    *("--vocab-size=8", "--make-vocab-size-divisible-by=8", "--padded-vocab-size=8"),
)


@dataclass(frozen=True)
class _Name:
    """A class or function that a pickle names, and that need not be there."""

    module: str
    name: str

    def __call__(self) -> None: ...

    def __reduce__(self) -> str:
        return self.name


@dataclass(eq=False)
class _Object:
    """What a call of a name makes, with the state that it is given."""

    name: _Name
    arguments: tuple = ()
    state: Any = None

    def __reduce__(self) -> tuple:
        return self.name, self.arguments, self.state


@dataclass(frozen=True)
class _Storage:
    """The values of a tensor, which stand beside the pickle."""

    kind: str
    key: str
    numbers: int


class _Pickler(pickle._Pickler):
    """Pickles names without importing what they name."""

    def save_global(self, obj: Any, name: str | None = None) -> None:
        if isinstance(obj, _Name):
            self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
            self.memoize(obj)
        else:
            super().save_global(obj, name)

    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, _Storage):
            return "storage", _Name("torch", obj.kind), obj.key, "cpu", obj.numbers
        return None


def _pickled(value: Any) -> bytes:
    file = io.BytesIO()
    _Pickler(file, protocol=2).dump(value)
    return file.getvalue()


def _archive(value: Any, *storages: bytes) -> bytes:
    """Write what `torch.save` writes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", _pickled(value))
        archive.writestr("archive/version", "3\n")
        for key, values in enumerate(storages):
            archive.writestr(f"archive/data/{key}", values)
    return file.getvalue()


def _tensor(kind: str, shape: tuple[int, ...]) -> _Object:
    strides = tuple(prod(shape[at + 1 :]) for at in range(len(shape)))
    arguments = (_Storage(kind, "0", prod(shape)), 0, shape, strides, False, {})
    return _Object(_Name("torch._utils", "_rebuild_tensor_v2"), arguments)


def _size(numbers: tuple[int, ...]) -> _Object:
    return _Object(_Name("torch", "Size"), (numbers,))


@dataclass
class Checkpoint:
    """A checkpoint folder and its root; each `write` leaves the manifest as it is, and `seal` writes that."""

    root: Path
    name: str

    @property
    def folder(self) -> Path:
        """The checkpoint folder."""
        return self.root / self.name

    @property
    def tracker(self) -> Path:
        """The text tracker."""
        return self.root / TRACKER

    def write_state(self, name: str, state: Any) -> None:
        """Write a state as `torch.save` does."""
        (self.folder / name).write_bytes(_archive(state))

    def write_args(self, **changes: Any) -> None:
        """Write the common state, with other args."""
        self.write_state("common.pt", {"iteration": 0, "args": Namespace(**ARGS | changes)})

    def write_step(self, step: int) -> None:
        """Write Bridge's train state, in the folder and as the root's tracker."""
        state = _archive({"step": _tensor("LongStorage", ())}, step.to_bytes(8, "little", signed=True))
        (self.folder / "train_state.pt").write_bytes(state)
        (self.root / TRAIN_STATE_TRACKER).write_bytes(state)

    def write_tensors(
        self, shapes: dict[str, tuple[int, ...]] = SHAPES, common: Any = None, layers_stored: int | None = None
    ) -> None:
        """Write the shard and the metadata: the first layers, or all; and the common state, if it is among them."""
        stored, described, places = bytearray(), {}, {}

        def store(key: str, at: tuple[int, ...] | None, data: bytes) -> None:
            info = {"relative_path": SHARD, "offset": len(stored), "length": len(data)}
            index = {"fqn": key, "offset": None if at is None else _size(at), "index": 0}
            storage = _Object(_Name("torch.distributed.checkpoint.filesystem", "_StorageInfo"), state=info)
            places[_Object(_Name(METADATA_MODULE, "MetadataIndex"), state=index)] = storage
            stored.extend(data)

        for key, shape in shapes.items():
            layers = key.startswith("decoder.layers.")
            part = (1, *shape[1:]) if layers else shape
            chunks = []
            for layer in range(shape[0] if layers else 1):
                at = (layer, *(0,) * (len(shape) - 1))
                chunk = {"offsets": _size(at), "sizes": _size(part)}
                chunks.append(_Object(_Name(METADATA_MODULE, "ChunkStorageMetadata"), state=chunk))
                if not layers or layers_stored is None or layer < layers_stored:
                    store(key, at, _archive(_tensor("FloatStorage", part), bytes(range(4 * prod(part)))))
            state = {"size": _size(shape), "chunks": chunks}
            described[key] = _Object(_Name(METADATA_MODULE, "TensorStorageMetadata"), state=state)
        if common is not None:
            described[COMMON_KEY] = _Object(_Name(METADATA_MODULE, "BytesStorageMetadata"), state={})
            store(COMMON_KEY, None, _archive([common]))
        self.write_metadata(described, places)
        (self.folder / SHARD).write_bytes(stored)

    def write_shape(self, shape: tuple) -> None:
        """Write metadata of one tensor, which is stored nowhere."""
        state = {"size": _size(shape), "chunks": []}
        self.write_metadata({"tensor": _Object(_Name(METADATA_MODULE, "TensorStorageMetadata"), state=state)}, {})

    def write_metadata(self, described: Any, places: Any) -> None:
        """Write the metadata alone."""
        state = {"state_dict_metadata": described, "storage_data": places}
        metadata = _Object(_Name(METADATA_MODULE, "Metadata"), state=state)
        (self.folder / ".metadata").write_bytes(_pickled(metadata))

    def seal(self) -> None:
        """Write the checksums of what there is."""
        write_manifest(self.folder)

    def rename(self, name: str, tracker: str) -> None:
        """Give the folder another name, and the tracker another text."""
        self.folder.rename(self.root / name)
        self.name = name
        self.tracker.write_text(tracker)

    def files(self) -> dict[str, bytes]:
        """Read all files of the root."""
        paths = (path for path in self.root.rglob("*") if path.is_file())
        return {path.relative_to(self.root).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture
def args() -> dict[str, Any]:
    """Megatron-LM's args, as far as a check asks for them."""
    return dict(ARGS)


@pytest.fixture
def shapes() -> dict[str, tuple[int, ...]]:
    """The shapes of tensors that fit the args."""
    return dict(SHAPES)


@pytest.fixture
def release(tmp_path: Path) -> Checkpoint:
    """A release in which nothing is wrong, and of which nothing is to be noted."""
    checkpoint = Checkpoint(tmp_path / "root", "release")
    (checkpoint.folder / "tokenizer").mkdir(parents=True)
    (checkpoint.folder / "tokenizer/tokenizer.json").write_text("{}")
    (checkpoint.folder / "metadata.json").write_text(json.dumps({"sharded_backend": "torch_dist"}))
    (checkpoint.folder / "run_config.yaml").write_text("model:\n  hf_model_id: org/name\n")
    (checkpoint.folder / "megatron_lm_args.txt").write_text("".join(f"{flag}\n" for flag in FLAGS))
    write_source(SourceRecord("org/name"), checkpoint.folder)
    checkpoint.write_args()
    checkpoint.write_step(0)
    checkpoint.write_tensors()
    checkpoint.seal()
    checkpoint.tracker.write_text("release")
    return checkpoint
