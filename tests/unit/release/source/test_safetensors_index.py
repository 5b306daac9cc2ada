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

"""The weights of a model's directory: what is refused, and what a header must fulfil, as in the safetensors library."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from megatron.bridge.release.source.errors import (
    AdapterError,
    CorruptIndexError,
    CorruptWeightsError,
    GitLfsPointerError,
    MissingShardsError,
    NotModelFileError,
    TensorsNotInShardsError,
    TwoModelsError,
    UnlistedTensorError,
    UnmatchedPatternsError,
    UnreadableFileError,
    WeightsNotFoundError,
)
from megatron.bridge.release.source.safetensors_index import INDEX, WEIGHTS, parse_header, read_index, require_matches


def _save(file: Path, **tensors: np.ndarray) -> None:
    file.parent.mkdir(exist_ok=True)
    save_file(tensors or {"weight": np.ones((2, 3), np.float32)}, file)


def _write(file: Path, header: str | bytes, values: bytes = b"") -> Path:
    """Write a safetensors file with any header."""
    header = header if isinstance(header, bytes) else header.encode()
    file.write_bytes(len(header).to_bytes(8, "little") + header + values)
    return file


def _entry(begin: int = 0, end: int = 4, dtype: str = "F32", shape: object = (1,), **others: object) -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end], **others}


def _parse(file: Path) -> dict:
    with open(file, "rb") as opened:
        return parse_header(opened, file)


def test_offsets_are_those_of_the_bytes(tmp_path):
    file = tmp_path / WEIGHTS
    _save(file, b=np.arange(6, dtype=np.int16).reshape(2, 3), a=np.arange(4.0), empty=np.zeros((0, 5)))
    index = read_index(tmp_path)
    assert list(index) == ["a", "b", "empty"]
    assert {name: (tensor.dtype, tensor.shape, tensor.file) for name, tensor in index.items()} == {
        "a": ("F64", (4,), WEIGHTS),
        "b": ("I16", (2, 3), WEIGHTS),
        "empty": ("F64", (0, 5), WEIGHTS),
    }
    data = file.read_bytes()
    assert data[index["a"].begin : index["a"].end] == np.arange(4.0).tobytes()
    assert data[index["b"].begin : index["b"].end] == np.arange(6, dtype=np.int16).tobytes()
    assert index["empty"].begin == index["empty"].end


ONE = {"a": _entry(), "b": _entry(4, 8)}
HEADERS = {
    "valid": json.dumps(ONE),
    "other order": json.dumps(dict(reversed(ONE.items()))),
    "spaces": json.dumps(ONE) + "   ",
    "no tensors": json.dumps({}),
    "metadata": json.dumps(ONE | {"__metadata__": {"format": "pt"}}),
    "no metadata": json.dumps(ONE | {"__metadata__": None}),
    "metadata of numbers": json.dumps(ONE | {"__metadata__": {"format": 1}}),
    "metadata in a list": json.dumps(ONE | {"__metadata__": []}),
    "field more": json.dumps(ONE | {"a": _entry(other=1)}),
    "gap": json.dumps(ONE | {"b": _entry(5, 9)}),
    "overlap": json.dumps(ONE | {"b": _entry(2, 6)}),
    "same bytes": json.dumps(ONE | {"b": _entry()}),
    "outside": json.dumps(ONE | {"b": _entry(4, 12)}),
    "bytes left": json.dumps({"a": _entry()}),
    "begins late": json.dumps({"a": _entry(4, 8)}),
    "wrong size": json.dumps(ONE | {"a": _entry(shape=[2])}),
    "wrong dtype": json.dumps(ONE | {"a": _entry(dtype="F64")}),
    "unknown dtype": json.dumps(ONE | {"a": _entry(dtype="F31")}),
    "dtype is no text": json.dumps(ONE | {"a": _entry(dtype=32)}),
    "negative size": json.dumps(ONE | {"a": _entry(shape=[-1, -1])}),
    "negative offset": json.dumps(ONE | {"a": _entry(-4, 0)}),
    "end before begin": json.dumps(ONE | {"b": _entry(8, 4)}),
    "size is a bool": json.dumps(ONE | {"a": _entry(shape=[True])}),
    "size is a float": json.dumps(ONE | {"a": _entry(shape=[1.0])}),
    "shape is a number": json.dumps(ONE | {"a": _entry(shape=1)}),
    "scalar": json.dumps(ONE | {"a": _entry(shape=[])}),
    "empty tensor": json.dumps(ONE | {"c": _entry(4, 4, shape=[0, 7])}),
    "empty tensor in another": json.dumps(ONE | {"c": _entry(2, 2, shape=[0])}),
    "huge size": json.dumps(ONE | {"c": _entry(4, 4, shape=[2**63, 2**63, 0])}),
    "too large a number": json.dumps(ONE | {"c": _entry(4, 4, shape=[2**64, 0])}),
    "overflow": json.dumps(ONE | {"a": _entry(shape=[2**32, 2**32])}),
    "one offset": json.dumps(ONE | {"a": _entry() | {"data_offsets": [0]}}),
    "three offsets": json.dumps(ONE | {"a": _entry() | {"data_offsets": [0, 4, 8]}}),
    "no shape": json.dumps(ONE | {"a": {"dtype": "F32", "data_offsets": [0, 4]}}),
    "no entry": json.dumps(ONE | {"a": None}),
    "half bytes": json.dumps({"a": _entry(0, 8, "F4", [16])}),
    "odd number of half bytes": json.dumps({"a": _entry(0, 8, "F4", [15])}),
    "six bits": json.dumps({"a": _entry(0, 6, "F6_E2M3", [8]), "b": _entry(6, 8, "BF16")}),
    "a list": "[]",
    "space first": " " + json.dumps(ONE),
    "not JSON": "{",
    "NaN": json.dumps(ONE)[:-1] + ', "c": NaN}',
    "Infinity in an entry": json.dumps(ONE | {"a": _entry(other=float("inf"))}),
    "not UTF-8": b'{"\xff": 1}',
    "lone surrogate": json.dumps(ONE | {"\ud800": _entry(8, 8, shape=[0])}),
    "empty": "",
}


@pytest.mark.parametrize("name", HEADERS)
def test_header_check_matches_safetensors_library(tmp_path, name):
    file = _write(tmp_path / WEIGHTS, HEADERS[name], bytes(8))
    try:
        with safe_open(file, framework="numpy") as opened:
            expected = {
                key: (opened.get_slice(key).get_dtype(), tuple(opened.get_slice(key).get_shape()))
                for key in opened.keys()
            }
    except SafetensorError:
        with pytest.raises(CorruptWeightsError) as raised:
            read_index(tmp_path)
        assert raised.value.path == file and raised.value.size == file.stat().st_size
    else:
        assert {key: (tensor.dtype, tensor.shape) for key, tensor in read_index(tmp_path).items()} == expected


def test_random_corruption_is_refused_like_safetensors_library(tmp_path):
    file = tmp_path / WEIGHTS
    _save(file, b=np.arange(6, dtype=np.int16).reshape(2, 3), a=np.arange(4.0), empty=np.zeros((0, 5)))
    whole = file.read_bytes()
    generator = random.Random(20260101)
    refused = 0
    for _ in range(1000):
        data = bytearray(whole)
        for _ in range(generator.randint(1, 2)):
            at = generator.choice([generator.randrange(8), generator.randrange(len(data))])
            data[at] = generator.choice([generator.randrange(256), *b'0123456789[]{},:"'])
        cut = generator.choice([len(data), len(data), generator.randrange(len(data))])
        file.write_bytes(data[:cut])
        try:
            with safe_open(file, framework="numpy") as opened:
                expected = {*opened.keys()}
        except SafetensorError:
            refused += 1
            with pytest.raises(CorruptWeightsError):
                _parse(file)
        else:
            assert _parse(file).keys() == expected
    assert 100 < refused < 1000


@pytest.mark.parametrize(
    "header",
    [
        '{"a": %s, "a": %s}' % ((json.dumps(_entry()),) * 2),
        '{"a": {"dtype": "F32", "dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}',
    ],
)
def test_name_that_occurs_twice_is_refused(tmp_path, header):
    with pytest.raises(CorruptWeightsError) as raised:
        _parse(_write(tmp_path / WEIGHTS, header, bytes(4)))
    assert "more than once" in raised.value.reason


def test_deep_nesting_is_refused(tmp_path):
    with pytest.raises(CorruptWeightsError):
        _parse(_write(tmp_path / WEIGHTS, '{"a":' + "[" * 100_000 + "]" * 100_000 + "}"))


def test_git_lfs_pointer_is_recognized(tmp_path):
    (tmp_path / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    with pytest.raises(GitLfsPointerError) as raised:
        read_index(tmp_path)
    assert raised.value.path == tmp_path / WEIGHTS


def test_unreadable_file_raises_error_with_reason(tmp_path, monkeypatch):
    _save(tmp_path / WEIGHTS)

    def refuse(path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(UnreadableFileError) as raised:
        read_index(tmp_path)
    assert (raised.value.path, raised.value.reason) == (tmp_path / WEIGHTS, "Permission denied")


def _index(folder: Path, **weight_map: str) -> None:
    (folder / INDEX).write_text(
        json.dumps({"weight_map": {name: f"{file}.safetensors" for name, file in weight_map.items()}})
    )


def test_index_and_files_must_agree(tmp_path):
    _save(tmp_path / "one.safetensors", a=np.zeros(1), b=np.zeros(2))
    _save(tmp_path / "two.safetensors", c=np.zeros(3))
    _index(tmp_path, a="one", b="one", c="two")
    assert {name: tensor.file for name, tensor in read_index(tmp_path).items()} == {
        "a": "one.safetensors",
        "b": "one.safetensors",
        "c": "two.safetensors",
    }
    _index(tmp_path, a="one", b="one", c="three", d="four")
    with pytest.raises(MissingShardsError) as missing:
        read_index(tmp_path)
    assert vars(missing.value) == {
        "index": tmp_path / INDEX,
        "files": ("four.safetensors", "three.safetensors"),
        "tensors": 2,
        "total": 4,
    }
    _index(tmp_path, a="one", c="two")
    with pytest.raises(UnlistedTensorError) as unlisted:
        read_index(tmp_path)
    assert (unlisted.value.path, unlisted.value.name) == (tmp_path / "one.safetensors", "b")
    _index(tmp_path, a="one", b="one", c="two", d="two")
    with pytest.raises(TensorsNotInShardsError) as absent:
        read_index(tmp_path)
    assert (absent.value.index, absent.value.names) == (tmp_path / INDEX, ("d",))
    _save(tmp_path / WEIGHTS)
    with pytest.raises(TwoModelsError) as two:
        read_index(tmp_path)
    assert two.value.folder == tmp_path


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"weight_map": {}}', '{"weight_map": {"a": 1}}', '{"weight_map": {"a": "../b"}}']
)
def test_corrupt_index_is_refused(tmp_path, text):
    (tmp_path / INDEX).write_text(text)
    with pytest.raises(CorruptIndexError) as raised:
        read_index(tmp_path)
    assert raised.value.path == tmp_path / INDEX


@pytest.mark.parametrize("name", [INDEX, WEIGHTS])
def test_dangling_symlink_is_refused(tmp_path, name):
    (tmp_path / name).symlink_to("nowhere")
    with pytest.raises(NotModelFileError) as raised:
        read_index(tmp_path)
    assert raised.value.path == tmp_path / name


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ([], "none"),
        (["other.safetensors"], "other name"),
        (["model-1.safetensors", "model-2.safetensors"], "no index"),
        (["pytorch_model.bin", "x.gguf"], "other format"),
    ],
)
def test_weights_that_transformers_does_not_load_are_described(tmp_path, files, kind):
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(WeightsNotFoundError) as raised:
        read_index(tmp_path)
    assert vars(raised.value) == {"folder": tmp_path, "found": tuple(files), "kind": kind}


@pytest.mark.parametrize(
    "weights", [["adapter_model.safetensors"], ["adapter_model.safetensors", "model.safetensors"]]
)
def test_lora_adapter_is_refused_with_and_without_base_model(tmp_path, weights):
    """transformers loads the base model that the adapter names, and applies the adapter."""
    (tmp_path / "adapter_config.json").write_text("{}")
    for name in weights:
        _save(tmp_path / name)
    with pytest.raises(AdapterError) as raised:
        read_index(tmp_path)
    assert raised.value.folder == tmp_path
    if "model.safetensors" in weights:
        (tmp_path / "adapter_config.json").unlink()
        assert read_index(tmp_path)["weight"].shape == (2, 3)


@pytest.mark.parametrize("others", [[], ["optimizer.bin"], ["other.safetensors"]])
def test_fsdp_shards_are_refused_with_the_merge_command(tmp_path, others):
    folder = tmp_path / "a model"
    (folder / "pytorch_model_fsdp_0").mkdir(parents=True)
    (folder / "pytorch_model_fsdp_0/.metadata").touch()
    (folder / "pytorch_model_fsdp_0/__0_0.distcp").touch()
    for name in others:
        _save(folder / name)
    with pytest.raises(WeightsNotFoundError) as raised:
        read_index(folder)
    assert (raised.value.found, raised.value.kind) == (("pytorch_model_fsdp_0",), "fsdp")
    assert f"accelerate merge-weights '{folder}/pytorch_model_fsdp_0' OUT" in str(raised.value)


def test_complete_model_may_contain_fsdp_shards(tmp_path):
    (tmp_path / "pytorch_model_fsdp_0").mkdir()
    (tmp_path / "pytorch_model_fsdp_0/.metadata").touch()
    _save(tmp_path / "model.safetensors")
    assert read_index(tmp_path)["weight"].shape == (2, 3)


def test_patterns_must_match_a_tensor():
    require_matches(["*.bias", "a.weight"], ["a.bias", "a.weight"])
    with pytest.raises(UnmatchedPatternsError) as raised:
        require_matches(["*.bias", "b*", "A.bias"], ["a.bias"])
    assert raised.value.patterns == ("b*", "A.bias")
