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

"""Imports and exports that cannot be are refused before torch is imported, and write nothing."""

import json
import os
import subprocess
import sys

import huggingface_hub
import pytest

from megatron.bridge.release.__main__ import main
from megatron.bridge.release.cli import export, importing
from megatron.bridge.release.source import model_dir as model_folder
from megatron.bridge.release.source.hub_errors import ModelNotFoundError
from megatron.bridge.release.source.provenance import SourceRecord


HEADER = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


@pytest.fixture(autouse=True)
def no_work(monkeypatch) -> None:
    """Let the work that follows the refusals fail the test."""

    def fail(*arguments: object, **_: object) -> None:
        pytest.fail(f"nothing was refused: {arguments}")

    monkeypatch.setattr(importing, "_import", fail)
    monkeypatch.setattr(export, "_export", fail)


@pytest.fixture
def hf(tmp_path):
    """A folder that looks like a Hugging Face model's."""
    folder = tmp_path / "hf"
    folder.mkdir()
    (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    _write_weights(folder, HEADER, 8)
    return folder


def _write_weights(folder, header: dict, size: int) -> None:
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(size))


def _error(capsys, *words: object) -> str:
    assert main([str(word) for word in words]) == 1
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith("error: ") and shown.err.count("\n") == 1
    return shown.err.strip()


def _no_config(hf) -> None:
    (hf / "config.json").unlink()


def _config_cut(hf) -> None:
    (hf / "config.json").write_text('{"architectures": [')


def _weights_cut(hf) -> None:
    _write_weights(hf, HEADER, 7)


def _a_shard_too_few(hf) -> None:
    (hf / "model.safetensors").unlink()
    (hf / "model.safetensors.index.json").write_text('{"metadata": {}, "weight_map": {"a": "b.safetensors"}}')


def _an_adapter_alone(hf) -> None:
    _no_config(hf)
    (hf / "adapter_config.json").write_text("{}")


def _no_weights(hf) -> None:
    (hf / "model.safetensors").unlink()


@pytest.fixture
def no_hub(monkeypatch) -> None:
    """Let every download fail the test."""
    monkeypatch.setattr(model_folder, "download_model", lambda name, _: pytest.fail(f"downloaded {name}"))


@pytest.mark.parametrize(
    "name",
    ["./moddel", "../hf", "/data/x", "~/moddel", "~nobody-here/x", "models/x/y/z", "org/name/", "org/x y", ".."],
)
@pytest.mark.usefixtures("no_hub")
def test_nonexistent_path_is_not_treated_as_model_id(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    found = _error(capsys, "import", name, tmp_path / "out")
    path = os.path.expanduser(name).rstrip("/") if name != "./moddel" else "moddel"
    if name == "..":
        assert (
            found
            == "error: .. is not a Hugging Face model: config.json is missing. Pass the directory that save_pretrained() wrote."
        )
    else:
        assert found == f"error: No such directory: {path}. Pass a Hugging Face model ID or a local directory."


def test_import_refuses_file_as_model(hf, tmp_path, capsys):
    file = hf / "config.json"
    assert (
        _error(capsys, "import", file, tmp_path / "out")
        == f"error: {file} is a file. Pass the directory of the model."
    )


@pytest.mark.usefixtures("no_hub")
def test_name_below_local_directory_is_not_treated_as_model_id(hf, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    assert _error(capsys, "import", "models/moddel", "out") == (
        "error: No such directory: models/moddel. models/ exists here, so this is not taken for a model ID. Pass a Hugging "
        "Face model ID or a local directory."
    )


@pytest.mark.parametrize("name", ["gpt2", "org/name", "models/cached"])
def test_model_id_is_downloaded(name, tmp_path, monkeypatch, capsys):
    """A local directory may have the name of the organization of a model in the cache."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "cache/models--models--cached").mkdir(parents=True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(model_folder, "download_model", _not_found)
    assert _error(capsys, "import", name, "out") == f"error: {ModelNotFoundError(name, None)}"


def _not_found(name: str, _: object) -> None:
    raise ModelNotFoundError(name, None)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_no_config, "config.json is missing"),
        (_an_adapter_alone, "contains a LoRA adapter"),
        (_config_cut, "config.json is invalid: "),
        (_weights_cut, "is not a complete safetensors file: "),
        (_a_shard_too_few, "Missing weight files: b.safetensors, with 1 of the 1 tensors"),
        (_no_weights, "contains no weights"),
    ],
)
def test_import_refuses_incomplete_model(hf, spoil, says, tmp_path, capsys):
    spoil(hf)
    assert says in _error(capsys, "import", hf, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_model_is_refused_by_import_and_export(release, tmp_path, capsys):
    gone = tmp_path / "no/such/folder"
    message = f"error: No such directory: {gone}. Pass a Hugging Face model ID or a local directory."
    assert _error(capsys, "import", gone, tmp_path / "out") == message
    assert _error(capsys, "export", release.root, gone, tmp_path / "out") == message
    assert "Invalid model name: ''" in _error(capsys, "import", "", tmp_path / "out")


def test_existing_checkpoint_error_names_shell_options(hf, release, capsys):
    before = release.files()
    assert _error(capsys, "import", hf, release.root) == (
        f"error: {release.root} already contains a checkpoint imported from org/name: release, the tracker 'release'. "
        "Use another output path, or pass --overwrite to replace the release."
    )
    release.tracker.write_text("5")
    assert "--overwrite replaces only a release" in _error(capsys, "import", hf, release.root, "--overwrite")
    release.tracker.write_text("release")
    assert release.files() == before


def test_import_refuses_invalid_or_full_output_path(hf, tmp_path, monkeypatch, capsys):
    assert "is inside the model directory" in _error(capsys, "import", hf, hf / "out")
    (tmp_path / "file").write_text("")
    assert "is a file" in _error(capsys, "import", hf, tmp_path / "file")
    _write_weights(hf, {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, 8)
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 3})())
    assert "B free, the checkpoint needs" in _error(capsys, "import", hf, tmp_path / "out")


def test_patterns_without_a_match_are_refused(hf, tmp_path, capsys):
    words = ("import", hf, tmp_path / "out", "--allow-unused-tensors")
    assert _error(capsys, *words, "a*", "*.foo", "b") == (
        "error: No tensor of the model matches '*.foo', 'b'. Correct --allow-unused-tensors, or remove the pattern."
    )
    with pytest.raises(pytest.fail.Exception, match="nothing was refused"):
        main([*map(str, words), "?"])


def test_import_refuses_model_directory_with_glob_pattern(hf, tmp_path, capsys):
    odd = hf.rename(hf.with_name("model[1]"))
    assert "would treat the path as a glob pattern" in _error(capsys, "import", odd, tmp_path / "out")


def test_export_refuses_output_inside_model_directory(release, hf, capsys):
    assert "is inside the model directory" in _error(capsys, "export", release.root, hf, hf / "out")


def test_export_refuses_output_at_iteration_directory(release, hf, capsys):
    for name in ("release/x", "iter_0000009", "iter_0000009/x"):
        assert "checkpoint" in _error(capsys, "export", release.root, hf, release.root / name)
        assert not (release.root / name).exists()


@pytest.mark.parametrize("target", ["link", "gone"], ids=["to itself", "to nothing"])
def test_output_path_through_dangling_symlink_is_refused(release, hf, tmp_path, capsys, target):
    link = tmp_path / "link"
    link.symlink_to(tmp_path / target)
    for command in (("import", hf), ("export", release.root, hf)):
        assert f"The output path {link} contains a dangling symlink: {link}. Remove it" in _error(
            capsys, *command, link
        )
        assert f"{link / 'out'} contains a dangling symlink: {link}. Remove" in _error(capsys, *command, link / "out")


def test_json_option_prints_error_as_json(hf, tmp_path, capsys):
    _no_weights(hf)
    assert main(["import", str(hf), str(tmp_path / "out"), "--json"]) == 1
    shown = capsys.readouterr()
    assert shown.err == f"error: {json.loads(shown.out)['error']}\n" and "contains no weights" in shown.err


def test_export_refuses_different_source_model(release, hf, tmp_path, capsys):
    assert f"was imported from org/name, not from {hf}" in _error(capsys, "export", release.root, hf, tmp_path / "out")


def test_export_without_checkpoint_or_into_used_path_is_refused(release, hf, tmp_path, capsys):
    (release.folder / "source.json").write_text(json.dumps(vars(SourceRecord(str(hf)))))
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("mine")
    assert f"{out} is not empty: mine. " in _error(capsys, "export", release.root, hf, out)
    assert (out / "mine").read_text() == "mine"
    release.tracker.write_text("7")
    assert "names iter_0000007, which does not exist. Checkpoints found: " in _error(
        capsys, "export", release.root, hf, tmp_path / "o"
    )
    release.tracker.unlink()
    assert "has no latest_checkpointed_iteration.txt" in _error(capsys, "export", release.root, hf, tmp_path / "o")


def test_export_refuses_several_ranks(release, hf, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "Start it without torchrun" in _error(capsys, "export", release.root, hf, tmp_path / "out")


def test_refused_import_loads_no_torch(hf, tmp_path):
    _no_weights(hf)
    code = (
        "import sys; from megatron.bridge.release.__main__ import main; status = main(sys.argv[1:]); "
        "print(status, {'torch', 'transformers', 'huggingface_hub', 'megatron.bridge.models'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "import", str(hf), str(tmp_path / "out")], capture_output=True, text=True
    )
    assert done.stdout == "1 set()\n"


@pytest.mark.parametrize(("task", "shown"), [("0", "srun has started 4 tasks"), ("3", "")])
def test_several_tasks_of_srun_are_refused_once(hf, tmp_path, capsys, monkeypatch, task, shown):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    monkeypatch.setenv("SLURM_PROCID", task)
    assert main(["import", str(hf), str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert shown in error and error.count("\n") == bool(shown)


def test_ranks_do_not_end_alone(hf, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    reached = []
    monkeypatch.setattr(importing, "_import", lambda *_, **__: reached.append(1))
    assert main(["import", str(tmp_path / "missing"), str(tmp_path / "out")]) == 0 and reached


def test_revision_is_refused_for_local_model(hf, release, tmp_path, capsys):
    for words in (("import", hf, tmp_path / "out"), ("export", release.root, hf, tmp_path / "out")):
        assert "which has no revision v1" in _error(capsys, *words, "--revision", "v1")


def test_check_refuses_revision_without_model_option(release, capsys):
    assert "--made-of" in _error(capsys, "check", release.root, "--revision", "v1")
