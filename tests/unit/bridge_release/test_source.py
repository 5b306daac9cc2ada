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


"""A release's record of what it was made of, and who may start from it."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from megatron.bridge_release.commands import repair_command
from megatron.bridge_release.plain_files import Unreadable
from megatron.bridge_release.source import (
    Source,
    describe,
    describe_run_config,
    read_source,
    require_source,
    write_source,
)


CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "transformers_version": "5.0",
    "_name_or_path": "a",
}


def _model(folder: Path, seed: int = 0) -> Path:
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(seed)
    tensors = {name: torch.randn(40, 50, generator=generator) for name in ("a", "b", "c")}
    tensors["small"] = torch.randn(3, generator=generator)
    tensors["empty"] = torch.empty(0)
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


@pytest.fixture
def hf(tmp_path) -> Path:
    return _model(tmp_path / "hf")


def _release(root: Path, source: Source | None) -> Path:
    (root / "release").mkdir(parents=True)
    if source is not None:
        write_source(source, root / "release")
    return root


def _refuses(root: Path, hf_model: Path | str) -> str:
    with pytest.raises(ValueError) as error:
        require_source(root, hf_model)
    assert "\n" not in str(error.value) and str(root) in str(error.value)
    return str(error.value)


def test_what_is_written_is_what_is_read(hf, tmp_path):
    source = replace(describe(hf), let_through=("A tensor was left out.",))
    assert source.made_of == str(hf) and len(source.config_sha256) == len(source.weights_sha256) == 64
    root = _release(tmp_path / "root", source)
    assert read_source(root / "release") == source
    assert json.loads((root / "release/source.json").read_text()).keys() == {
        *("made_of", "config_sha256", "weights_sha256", "megatron_bridge", "let_through"),
    }


def test_a_record_of_the_first_versions_is_read(hf, tmp_path):
    source = describe(hf)
    root = _release(tmp_path / "root", source)
    file = root / "release/source.json"
    file.write_text(json.dumps({name: value for name, value in vars(source).items() if name != "let_through"}))
    assert read_source(root / "release") == source


@pytest.mark.parametrize("let_through", ["a text", [1], None, {"a": "b"}])
def test_a_record_of_no_texts_is_damaged(hf, tmp_path, let_through):
    root = _release(tmp_path / "root", describe(hf))
    (root / "release/source.json").write_text(json.dumps(vars(describe(hf)) | {"let_through": let_through}))
    with pytest.raises(Unreadable, match="let_through is no list of texts"):
        read_source(root / "release")


def test_the_model_itself_passes_from_wherever_it_is_named(hf, tmp_path, monkeypatch):
    root = _release(tmp_path / "root", describe(hf))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (hf, str(hf), "hf", "./hf", "../" + tmp_path.name + "/hf", "~/hf", f"{hf}/"):
        require_source(root, name)


def test_a_folder_that_has_moved_is_the_same_model_and_one_that_is_gone_goes_by_its_path(hf, tmp_path):
    root = _release(tmp_path / "root", describe(hf))
    hf.rename(tmp_path / "moved")
    require_source(root, tmp_path / "moved")
    require_source(root, hf)
    assert f"holds a release of {hf}, not of {tmp_path / 'gone'}." in _refuses(root, tmp_path / "gone")


def test_a_config_that_transformers_has_written_anew_is_the_same(hf, tmp_path):
    root = _release(tmp_path / "root", describe(hf))
    changed = dict(reversed(CONFIG.items())) | {"transformers_version": "5.1", "_name_or_path": "b"}
    (hf / "config.json").write_text(json.dumps(changed, indent=4))
    require_source(root, hf)


def test_another_model_is_refused_by_both_names(hf, tmp_path):
    root = _release(tmp_path / "root", describe(hf))
    other = _model(tmp_path / "other", seed=1)
    assert _refuses(root, other) == (
        f"{root} holds a release of {hf}, not of {other}. Import that into another folder."
    )
    assert f"holds a release of {hf}, not of meta-llama/Llama-3.2-1B." in _refuses(root, "meta-llama/Llama-3.2-1B")
    root = _release(tmp_path / "hub", Source("meta-llama/Llama-3.2-1B"))
    require_source(root, "meta-llama/Llama-3.2-1B")
    assert "of meta-llama/Llama-3.2-1B, not of meta-llama/Llama-3.2-3B." in _refuses(root, "meta-llama/Llama-3.2-3B")
    assert f"of meta-llama/Llama-3.2-1B, not of {hf}." in _refuses(root, hf)


@pytest.mark.parametrize("name", ["a", "b", "c", "small"])
@pytest.mark.parametrize("at", [0, -1])
def test_the_first_and_the_last_value_of_every_tensor_count(hf, tmp_path, name, at):
    root = _release(tmp_path / "root", describe(hf))
    tensors = load_file(hf / "model.safetensors")
    tensors[name].view(-1)[at] += 1
    save_file(tensors, hf / "model.safetensors")
    assert f"{hf} has changed since {root} was made of it: its weights. " in _refuses(root, hf)


def _another_value(hf: Path) -> None:
    (hf / "config.json").write_text(json.dumps(CONFIG | {"rope_theta": 1}))


def _another_name(hf: Path) -> None:
    tensors = load_file(hf / "model.safetensors")
    save_file({f"x.{name}": tensor for name, tensor in tensors.items()}, hf / "model.safetensors")


def _another_shape(hf: Path) -> None:
    tensors = load_file(hf / "model.safetensors")
    save_file(tensors | {"a": tensors["a"].reshape(50, 40)}, hf / "model.safetensors")


def _a_file_more(hf: Path) -> None:
    save_file({"d": torch.zeros(2)}, hf / "more.safetensors")


@pytest.mark.parametrize("change", [_another_value, _another_name, _another_shape])
def test_a_model_that_has_changed_in_its_place_is_another_one(hf, tmp_path, change):
    root = _release(tmp_path / "root", describe(hf))
    change(hf)
    what = "config" if change is _another_value else "weights"
    assert f"{hf} has changed since {root} was made of it: its {what}. " in _refuses(root, hf)


def test_files_beside_the_whole_model_do_not_count(hf, tmp_path):
    root = _release(tmp_path / "root", describe(hf))
    _a_file_more(hf)
    require_source(root, hf)


def test_files_that_the_index_does_not_name_do_not_count(hf, tmp_path):
    (hf / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "model.safetensors"}}))
    root = _release(tmp_path / "root", describe(hf))
    _a_file_more(hf)
    require_source(root, hf)


@pytest.mark.parametrize("damage", [b"", b"\x00" * 7, b"version https://git-lfs", b"\x02" + b"\x00" * 7 + b"[]"])
def test_a_damaged_file_of_the_model_is_named(hf, tmp_path, damage):
    root = _release(tmp_path / "root", describe(hf))
    (hf / "model.safetensors").write_bytes(damage)
    with pytest.raises(ValueError, match=f"^{hf}/model.safetensors is no safetensors file, or a damaged one."):
        require_source(root, hf)


def test_a_release_that_does_not_say_is_refused_with_what_to_do(hf, tmp_path):
    root = _release(tmp_path / "root", None)
    error = _refuses(root, hf)
    assert f"does not say which model it was made of, so it may be another than {hf}" in error
    assert (repair_command(root) or "Give another folder") in error
    assert "holds no release" in _refuses(tmp_path / "nothing", hf)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"made_of": 1, "config_sha256": null, "weights_sha256": null, "megatron_bridge": ""}',
        "[" * 99999,
    ],
)
def test_a_damaged_record_is_an_error_that_names_it(hf, tmp_path, text):
    root = _release(tmp_path / "root", None)
    (root / "release/source.json").write_text(text)
    with pytest.raises(Unreadable, match="^source.json cannot be read: "):
        read_source(root / "release")
    assert "source.json cannot be read" in _refuses(root, hf)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model:\n  hf_model_id: org/name\n", "org/name"),
        ("model:\n  extra_checkpoint_metadata: {hf_model_id: org/name}\n", "org/name"),
        ("model:\n  hf_model_id: org/name\n  extra_checkpoint_metadata: {hf_model_id: other}\n", "org/name"),
        ("model:\n  extra_checkpoint_metadata: null\n", None),
        ("model:\n  extra_checkpoint_metadata: [hf_model_id]\n", None),
        ("model: []\n", None),
        ("model: {}\n", None),
        ("model:\n  hf_model_id: 5\n", None),
        ("[", None),
        (None, None),
    ],
)
def test_a_run_config_tells_the_name_alone(tmp_path, text, expected):
    if text is not None:
        (tmp_path / "run_config.yaml").write_text(text)
    found = describe_run_config(tmp_path)
    assert (found and (found.made_of, found.config_sha256, found.weights_sha256)) == (
        expected and (expected, None, None)
    )


@pytest.mark.skipif(not find_spec("megatron.bridge_release"), reason="the commands are not installed")
def test_it_starts_without_torch(hf, tmp_path):
    root = _release(tmp_path / "root", describe(hf))
    code = (
        "import sys\n"
        "from megatron.bridge_release.source import require_source\n"
        "require_source(*sys.argv[1:])\n"
        "print(sorted(sys.modules.keys() & {'torch', 'transformers', 'megatron.core', 'megatron.bridge'}))\n"
    )
    run = subprocess.run([sys.executable, "-c", code, root, hf], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_a_copy_is_the_same_model(hf, tmp_path):
    require_source(_release(tmp_path / "root", describe(hf)), shutil.copytree(hf, tmp_path / "copy"))


@pytest.mark.parametrize("name", ["a folder", "org/a folder", "-", "org/name"])
def test_what_is_no_folder_and_in_no_cache_has_a_name_alone(name):
    assert describe(name) == Source(name, megatron_bridge=describe(name).megatron_bridge)
