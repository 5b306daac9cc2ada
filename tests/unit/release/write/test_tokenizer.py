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

"""A release gets the tokenizer files of its source model, byte by byte, and nothing else of that folder."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from megatron.core.msc_utils import MultiStorageClientFeature

from megatron.bridge.release.write.errors import TokenizerFilesError
from megatron.bridge.release.write.tokenizer import copy_tokenizer


TOKENIZER = {
    "added_tokens.json": b'{"a": 1}',
    "additional_chat_templates/tool_use.jinja": b"{{ tools }}",
    "chat_template.jinja": b"{{ messages }}\r\n",
    "merges.txt": b"a b",
    "special_tokens_map.json": b"{}",
    "tokenizer.json": b'{ "model" : {} }',
    "tokenizer.model": bytes(range(256)),
    "tokenizer_config.json": b'{"tokenizer_class": "GPT2Tokenizer"}',
    "vocab.json": b"{}",
}
OTHERS = (
    "model.safetensors",
    "pytorch_model.bin",
    "README.md",
    "LICENSE",
    "generation_config.json",
    "original/a.json",
)


@pytest.fixture
def hf(tmp_path) -> Path:
    folder = tmp_path / "hf"
    for name, content in {**TOKENIZER, "config.json": b"{}", "code.py": b"1", **dict.fromkeys(OTHERS, b"")}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def _save(model: object, folder: Path, **keywords: object) -> dict[str, bytes]:
    copy_tokenizer(str(model), keywords, folder)
    target = folder / "tokenizer"
    return {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*") if path.is_file()}


def test_files_are_copied_unchanged_with_the_config(hf, tmp_path):
    # transformers chooses the class of a tokenizer by the model_type too.
    assert _save(hf, tmp_path / "out") == TOKENIZER | {"config.json": b"{}"}


def test_custom_code_is_copied_when_trusted(hf, tmp_path):
    assert _save(hf, tmp_path / "out", trust_remote_code=True) == TOKENIZER | {"config.json": b"{}", "code.py": b"1"}


@pytest.mark.parametrize("name", sorted(TOKENIZER))
def test_single_tokenizer_file_is_copied(hf, tmp_path, name):
    for other in [path for path in hf.rglob("*") if path.is_file() and path != hf / name]:
        other.unlink()
    assert _save(hf, tmp_path / "out") == {name: TOKENIZER[name]}


def test_hub_snapshot_is_copied_without_symlinks(hf, tmp_path):
    cache = tmp_path / "cache"
    repository = cache / "models--org--name"
    snapshot = repository / "snapshots/0123456789012345678901234567890123456789"
    (repository / "blobs").mkdir(parents=True)
    for number, path in enumerate(sorted(path for path in hf.rglob("*") if path.is_file())):
        (repository / "blobs" / str(number)).write_bytes(path.read_bytes())
        link = snapshot / path.relative_to(hf)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(repository / "blobs" / str(number), link.parent))
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(snapshot.name)
    place = {"cache_dir": str(cache), "local_files_only": True}
    assert _save("org/name", tmp_path / "out", **place) == TOKENIZER | {"config.json": b"{}"}
    assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))
    revision = {"revision": snapshot.name}
    assert _save("org/name", tmp_path / "other", **place, **revision) == TOKENIZER | {"config.json": b"{}"}


def test_subfolder_keyword_selects_tokenizer_files(hf, tmp_path):
    hf.rename(tmp_path / "part")
    assert _save(tmp_path, tmp_path / "out", subfolder="part").keys() == TOKENIZER.keys() | {"config.json"}


def test_model_without_tokenizer_files_raises_error(tmp_path):
    (tmp_path / "hf").mkdir()
    with pytest.raises(TokenizerFilesError) as raised:
        _save(tmp_path / "hf", tmp_path / "out")
    assert (raised.value.model, raised.value.reason) == (str(tmp_path / "hf"), None)


@pytest.mark.parametrize("spoil", [lambda path: path.symlink_to("gone"), os.mkfifo], ids=["dangling", "a pipe"])
def test_dangling_symlink_or_pipe_raises_error_with_path(hf, tmp_path, spoil):
    (hf / "tokenizer.model").unlink()
    spoil(hf / "tokenizer.model")
    with pytest.raises(TokenizerFilesError) as raised:
        _save(hf, tmp_path / "out")
    assert str(hf / "tokenizer.model") in raised.value.reason


def test_directory_named_like_tokenizer_file_is_skipped(hf, tmp_path):
    (hf / "vocab.d").mkdir()
    assert _save(hf, tmp_path / "out").keys() == TOKENIZER.keys() | {"config.json"}


def test_object_store_receives_same_tokenizer_files(hf, tmp_path, monkeypatch):
    def open_object(name: str, mode: str):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        return open(name, mode)

    monkeypatch.setattr(MultiStorageClientFeature, "is_enabled", lambda: True)
    monkeypatch.setattr(MultiStorageClientFeature, "import_package", lambda: SimpleNamespace(open=open_object))
    assert _save(hf, tmp_path / "out") == TOKENIZER | {"config.json": b"{}"}
