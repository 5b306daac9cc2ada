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

"""Folders that hold no whole model are refused, in one line and before any weight is read."""

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
import torch
from expected_errors import Containing
from odd_models import assert_refused, make_odd
from safetensors.torch import load_file, save_file

from megatron.bridge import AutoBridge
from megatron.bridge.release.errors import ReleaseError
from megatron.bridge.release.source.errors import (
    CorruptIndexError,
    CorruptWeightsError,
    GitLfsPointerError,
    MissingShardsError,
    ModelDirNotFoundError,
    NotModelFileError,
    TensorsNotInShardsError,
    TwoModelsError,
    UnlistedTensorError,
    WeightsNotFoundError,
)
from megatron.bridge.release.source.hub_errors import HubError
from megatron.bridge.release.validation.errors import TokenizerError, TokenizerSizeError


INDEX = "model.safetensors.index.json"


def _truncate(hf: Path) -> None:
    with open(hf / "model.safetensors", "r+b") as file:
        file.truncate((hf / "model.safetensors").stat().st_size - 100)


def _lengthen(hf: Path) -> None:
    with open(hf / "model.safetensors", "ab") as file:
        file.write(b"\0" * 100)


def _pointer(hf: Path) -> None:
    (hf / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


def _huge_header(hf: Path) -> None:
    (hf / "model.safetensors").write_bytes(struct.pack("<Q", 10**12) + b"{}")


def _two_files(hf: Path, names: tuple[str, str] = ("a", "b")) -> dict[str, str]:
    tensors = load_file(hf / "model.safetensors")
    (hf / "model.safetensors").unlink()
    half = len(tensors) // 2
    files = {name: f"model-{names[i >= half]}.safetensors" for i, name in enumerate(tensors)}
    for file in set(files.values()):
        save_file({name: tensors[name] for name in tensors if files[name] == file}, hf / file)
    (hf / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": files}))
    return files


def _missing_shard(hf: Path) -> None:
    _two_files(hf)
    (hf / "model-b.safetensors").unlink()


def _index_of_more(hf: Path) -> None:
    files = _two_files(hf)
    (hf / INDEX).write_text(json.dumps({"weight_map": files | {"model.layers.9.x": "model-a.safetensors"}}))


def _stale_tensor(hf: Path) -> None:
    _two_files(hf)
    stale = load_file(hf / "model-a.safetensors")
    name = next(iter(stale))
    save_file(load_file(hf / "model-b.safetensors") | {name: stale[name] + 1}, hf / "model-b.safetensors")


def _fifo(hf: Path) -> None:
    (hf / "model.safetensors").unlink()
    os.mkfifo(hf / "model.safetensors")


def _no_index(hf: Path) -> None:
    _two_files(hf, ("00001-of-00002", "00002-of-00002"))
    (hf / INDEX).unlink()


def _another_name(hf: Path) -> None:
    (hf / "model.safetensors").rename(hf / "weights.safetensors")


def _broken_index(hf: Path) -> None:
    _no_index(hf)
    (hf / INDEX).symlink_to("gone")


def _index_that_is_a_folder(hf: Path) -> None:
    _no_index(hf)
    (hf / INDEX).mkdir()


def _torn_index(hf: Path) -> None:
    _two_files(hf)
    (hf / INDEX).write_text('{"weight_map": {')


def _two_models(hf: Path) -> None:
    shutil.copyfile(hf / "model.safetensors", hf / "kept")
    _two_files(hf)
    (hf / "kept").rename(hf / "model.safetensors")


def _pickled(hf: Path) -> None:
    torch.save(load_file(hf / "model.safetensors"), hf / "pytorch_model.bin")
    (hf / "model.safetensors").unlink()


def _no_tokenizer(hf: Path) -> None:
    for file in hf.glob("tokenizer*"):
        file.unlink()


def _larger_tokenizer(hf: Path) -> None:
    values = json.loads((hf / "tokenizer.json").read_text())
    values["model"]["vocab"]["more"] = 500
    (hf / "tokenizer.json").write_text(json.dumps(values))


def _token_without_end(hf: Path) -> None:
    values = json.loads((hf / "tokenizer.json").read_text())
    values["model"]["vocab"]["more"] = 2**32
    (hf / "tokenizer.json").write_text(json.dumps(values))


# What is done to a folder, and the error.
FOLDERS: dict[Callable[[Path], Any], Callable[[Path], ReleaseError]] = {
    _truncate: lambda hf: CorruptWeightsError(hf / "model.safetensors", ANY, ANY),
    _lengthen: lambda hf: CorruptWeightsError(hf / "model.safetensors", ANY, ANY),
    _pointer: lambda hf: GitLfsPointerError(hf / "model.safetensors"),
    _huge_header: lambda hf: CorruptWeightsError(hf / "model.safetensors", 10, Containing("1,000,000,000,000")),
    _missing_shard: lambda hf: MissingShardsError(hf / INDEX, ("model-b.safetensors",), 11, 21),
    _index_of_more: lambda hf: TensorsNotInShardsError(hf / INDEX, ("model.layers.9.x",)),
    _stale_tensor: lambda hf: UnlistedTensorError(hf / "model-b.safetensors", "lm_head.weight"),
    _fifo: lambda hf: NotModelFileError(hf / "model.safetensors"),
    _no_index: lambda hf: WeightsNotFoundError(
        hf, ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"), "no index"
    ),
    _another_name: lambda hf: WeightsNotFoundError(hf, ("weights.safetensors",), "other name"),
    _broken_index: lambda hf: NotModelFileError(hf / INDEX),
    _index_that_is_a_folder: lambda hf: NotModelFileError(hf / INDEX),
    _torn_index: lambda hf: CorruptIndexError(hf / INDEX, ANY),
    _two_models: lambda hf: TwoModelsError(hf),
    _pickled: lambda hf: WeightsNotFoundError(hf, ("pytorch_model.bin",), "other format"),
    _no_tokenizer: lambda hf: TokenizerError(str(hf), ANY),
    _larger_tokenizer: lambda hf: TokenizerSizeError(str(hf), 500, None, 500),
    _token_without_end: lambda hf: TokenizerSizeError(str(hf), 2**32, None, 500),
}


@pytest.mark.parametrize("spoil", FOLDERS, ids=lambda spoil: spoil.__name__.strip("_"))
def test_import_refuses_incomplete_model_directory(families, tmp_path, spoil):
    hf = make_odd(families("Llama 2"), tmp_path, None, {})
    spoil(hf)
    assert_refused(hf, tmp_path / "root", FOLDERS[spoil](hf))


@pytest.mark.parametrize("name", ["a/b/c", "~/no such model", "-x"])
def test_import_refuses_nonexistent_model_directory(tmp_path, name):
    assert_refused(name, tmp_path / "root", ModelDirNotFoundError(Path(name).expanduser(), None))


@pytest.mark.parametrize("name", ["no-such-model", "no-such-organization/model"])
def test_import_raises_hub_error_for_unknown_model_id(tmp_path, name):
    with pytest.raises(HubError) as error:
        AutoBridge.import_ckpt(name, tmp_path / "root", release=True)
    assert error.value.model_id == name
    assert "\n" not in str(error.value)
    assert not (tmp_path / "root").exists()
