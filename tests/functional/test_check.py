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

"""`check` tells what is wrong with a checkpoint, and runs nothing that is in it."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from attack import Attack
from roots import change_args, contents, shard, stored_args
from torch.distributed.checkpoint import FileSystemReader

from megatron.bridge import AutoBridge
from megatron.bridge.release.__main__ import main
from megatron.bridge.release.layout import INTEGRITY_FILE, TRACKER
from megatron.bridge.release.manifest import write_manifest
from megatron.bridge.release.repair.run import repair
from megatron.bridge.release.verify.args import EMBEDDING, NEEDED_ARGS
from megatron.bridge.release.verify.check import check
from megatron.bridge.release.verify.dcp_metadata import read_metadata, read_state
from megatron.bridge.release.verify.errors import ArgsShapeMismatch, ArgsTyingMismatch, NonIntegerArg
from megatron.bridge.release.verify.findings import (
    IgnoredRopeFactor,
    IterationZero,
    MissingTracker,
    MovedTokenizer,
    OutsideSymlink,
    SpecialFiles,
    WrongArgs,
)
from megatron.bridge.release.verify.launch import RUN_FLAGS
from megatron.bridge.release.verify.report import BRIDGE, MEGATRON_LM, OLDER_MEGATRON_LM, UPSTREAM
from megatron.bridge.release.write.publish import Publication
from megatron.bridge.training.model_load_save import load_tokenizer


LAYERS = "decoder.layers"


def _loads(root: Path) -> dict[str, bool]:
    return {reader.name: reader.reason is None for reader in check(root).readers}


def test_json_of_a_release_has_readers_and_flags(tiny, capsys):
    assert main(["check", str(tiny.root), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["loadable"] and not report["problems"] and not report["notes"]
    assert (report["layout"], report["tracker"], report["folder"]) == ("release", "release", "release")
    assert report["source_model"] == str(tiny.hf)
    assert {file["name"] for file in report["files"]} == {*contents(tiny.root / "release")}
    assert all(file["is_verified"] for file in report["files"] if file["name"] != INTEGRITY_FILE)
    loads = {reader["name"]: reader["loads"] for reader in report["readers"]}
    assert loads == {MEGATRON_LM: True, OLDER_MEGATRON_LM: True, BRIDGE: True, UPSTREAM: False}
    flags = (tiny.root / "release" / "megatron_lm_args.txt").read_text().split()
    assert report["launch"] == [
        *(*flags, "--tokenizer-type", "HuggingFaceTokenizer"),
        *("--tokenizer-model", str(tiny.root / "release" / "tokenizer")),
        *("--load", str(tiny.root), "--exit-on-missing-checkpoint", *RUN_FLAGS),
    ]


def test_report_names_files_readers_and_launch(tiny, capsys):
    assert main(["check", str(tiny.root)]) == 0
    shown = capsys.readouterr().out
    for path in contents(tiny.root / "release"):
        assert f" {path} " in shown
    assert "OK: the checkpoint can be loaded." in shown and f"--load {tiny.root} --exit-on-missing-checkpoint" in shown
    assert "does not support releases" in shown


def test_check_imports_neither_torch_nor_bridge(tiny):
    code = (
        "import sys\n"
        "from megatron.bridge.release.__main__ import main\n"
        "assert main(['check', sys.argv[1]]) == 0\n"
        "print(sorted(sys.modules.keys() & {'torch', 'numpy', 'megatron.core', 'megatron.bridge.models'}))\n"
    )
    run = subprocess.run([sys.executable, "-c", code, tiny.root], capture_output=True, text=True, check=True)
    assert run.stdout.endswith("\n[]\n")


def test_read_metadata_matches_torch_reader(tiny):
    expected = FileSystemReader(tiny.root / "release").read_metadata()
    found = read_metadata(tiny.root / "release")
    assert {(entry.key, entry.at, entry.file, entry.offset, entry.length) for entry in found.entries} == {
        (index.fqn, index.offset and tuple(index.offset), info.relative_path, info.offset, info.length)
        for index, info in expected.storage_data.items()
    }
    tensors = {key: value for key, value in expected.state_dict_metadata.items() if hasattr(value, "chunks")}
    assert {key: (tensor.shape, tensor.chunks) for key, tensor in found.tensors.items()} == {
        key: (tuple(value.size), tuple((tuple(chunk.offsets), tuple(chunk.sizes)) for chunk in value.chunks))
        for key, value in tensors.items()
    }
    assert set(found.objects) == expected.state_dict_metadata.keys() - tensors.keys()


def test_read_state_matches_args_read_by_torch(tiny):
    expected = vars(stored_args(tiny.root))
    found = vars(read_state(tiny.root / "release")["args"])
    assert found == {name: str(value) if isinstance(value, torch.dtype) else value for name, value in expected.items()}
    assert set(NEEDED_ARGS) <= found.keys()


def test_unlisted_files_add_single_short_note(root):
    folder = root / "release"
    (folder / "NOTES.md").write_text("mine")
    report = check(root)
    assert report.passed
    assert [note.names for note in report.notes] == [("NOTES.md",)]
    (folder / "runs").mkdir()
    for number in range(10_000):
        (folder / f"runs/{number:05d}").touch()
    report = check(root)
    assert report.passed
    (note,) = report.notes
    assert len(note.names) == 10_001
    assert len(str(note)) < 1000


def test_many_symlinks_add_single_short_problem(root):
    for number in range(10_000):
        (root / f"release/{number}").symlink_to("common.pt")
    (problem,) = check(root).problems
    assert len(problem.names) == 10_000
    assert len(str(problem)) < 1000


def test_import_without_a_release_is_for_bridge_only(default):
    report = check(default)
    assert report.layout == "import" and not report.passed
    assert _loads(default) == {MEGATRON_LM: False, OLDER_MEGATRON_LM: False, BRIDGE: True, UPSTREAM: True}
    (problem,) = report.problems
    assert (type(problem), problem.root) == (IterationZero, default)


@pytest.mark.parametrize(
    ("tracker", "expected"),
    [
        (
            None,
            "has no latest_checkpointed_iteration.txt: Megatron-LM treats it as empty. Checkpoints found: release.",
        ),
        ("", "contains '', neither 'release' nor an iteration number."),
        ("releas", "contains 'releas', neither 'release' nor an iteration number."),
        ("100", "names iter_0000100, which does not exist. Checkpoints found: release."),
    ],
)
def test_invalid_tracker_is_found(root, tracker, expected):
    (root / TRACKER).unlink() if tracker is None else (root / TRACKER).write_text(tracker)
    report = check(root)
    assert not report.passed and expected in str(report.problems[0])
    # A repair refuses a tracker of a training whose checkpoint is lost.
    assert (f"python -m megatron.bridge.release repair {root}" in str(report.problems[0])) == (tracker != "100")


def test_copy_of_a_release_needs_a_decision_before_a_repair(root, capsys):
    shutil.copytree(root / "release", root / "iter_0000000")
    (root / TRACKER).unlink()
    (problem,) = check(root).problems
    assert (type(problem), problem.repair) == (MissingTracker, None)
    assert main(["repair", str(root)]) == 1
    assert "contains more than one checkpoint" in capsys.readouterr().err


def test_path_without_checkpoint_adds_single_problem(root, tmp_path, capsys):
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "empty").mkdir()
    for path, expected in {
        tmp_path / "missing": "missing does not exist. Pass the checkpoint directory",
        root / TRACKER: f"{TRACKER} is a file. Pass the checkpoint directory",
        tmp_path / "link": "link is a dangling symlink. Pass the checkpoint directory",
        root / "release": f"release is an iteration directory. Pass the checkpoint directory: {root}",
        tmp_path / "empty": "Checkpoints found: none. Import the model again, or pass another directory.",
    }.items():
        assert main(["check", str(path)]) == 1
        shown = capsys.readouterr().out
        assert expected in shown and "problem 2" not in shown


def test_check_and_repair_execute_no_code_from_files(root, tmp_path, monkeypatch):
    marker = tmp_path / "run"
    folder = root / "release"
    (folder / ".metadata").write_bytes(pickle.dumps(Attack(marker)))
    torch.save({"args": Attack(marker)}, folder / "common.pt")
    torch.save({"step": Attack(marker)}, folder / "train_state.pt")
    config = (folder / "run_config.yaml").read_text()
    (folder / "run_config.yaml").write_text(f"{config}evil: !!python/object/apply:os.system ['touch {marker}']\n")
    write_manifest(folder)
    report = check(root)
    for name in (".metadata", "common.pt", "train_state.pt", "run_config.yaml"):
        assert report.files[name].status == "corrupt"
    assert report.problems[0].reason == "refused to unpickle posix.system: not an allowed class"
    assert main(["repair", str(root)]) == 1
    assert not marker.exists()


def test_paths_out_of_the_directory_are_not_followed(root, tmp_path):
    folder = root / "release"
    metadata = (folder / ".metadata").read_bytes()
    outside = tmp_path / "outside.distcp"
    file = shard(folder)
    shutil.copy(file, outside)
    # As long as the name that it takes the place of.
    name = f"../../{'x' * (len(file.name) - len('../../.dist'))}.dist"
    (folder / ".metadata").write_bytes(metadata.replace(file.name.encode(), name.encode()))
    assert check(root).problems[0].reason == f"names a file outside the checkpoint, '{name}'"
    (folder / ".metadata").write_bytes(metadata)
    file.unlink()
    file.symlink_to(outside)
    report = check(root)
    assert [(type(problem), problem.names) for problem in report.problems] == [(SpecialFiles, (file.name,))]
    assert main(["repair", str(root)]) == 1
    file.unlink()
    shutil.copy(outside, file)
    for name in ("train_state.pt", "common.pt", ".metadata", "run_config.yaml", "megatron_lm_args.txt"):
        (folder / name).rename(tmp_path / name)
        (folder / name).symlink_to(tmp_path / name)
        (problem,) = check(root).problems
        assert (type(problem), problem.names) == (SpecialFiles, (name,))
        (folder / name).unlink()
        (tmp_path / name).rename(folder / name)
    assert check(root).passed
    shutil.move(folder, tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert type(check(root).problems[0]) is OutsideSymlink


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"num_layers": 7},
            ArgsShapeMismatch(f"{LAYERS}.self_attention.linear_proj.weight", (2, 64, 64), (7, 64, 64)),
        ),
        ({"kv_channels": None}, NonIntegerArg("kv_channels", None)),
        ({"ffn_hidden_size": 97}, ArgsShapeMismatch(f"{LAYERS}.mlp.linear_fc2.weight", (2, 64, 96), (2, 64, 97))),
        ({"padded_vocab_size": 640}, ArgsShapeMismatch(EMBEDDING, (512, 64), (640, 64))),
        ({"untie_embeddings_and_output_weights": False}, ArgsTyingMismatch(False)),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_mismatching_args_are_found_and_repaired(root, changes, expected):
    right = vars(stored_args(root))
    change_args(root, **changes)
    (problem,) = check(root).problems
    assert (type(problem), problem.problem) == (WrongArgs, expected)
    repair(root)
    assert check(root).passed
    found = vars(stored_args(root))
    assert found == right | {"tokenizer_model": str(root / "release" / "tokenizer")}


def test_ignored_rope_factor_is_a_note(root):
    assert check(root).notes == []
    change_args(root, use_rope_scaling=True, rope_scaling_factor=32.0)
    (note,) = check(root).notes
    assert (type(note), note.factor) == (IgnoredRopeFactor, 32.0)


def test_markup_in_a_path_is_printed_literally(tiny, tmp_path, capsys):
    root = Path(shutil.copytree(tiny.root, tmp_path / "a[red]b[/b]"))
    assert main(["check", str(root)]) == 0
    assert capsys.readouterr().out.startswith(f"{root}: release\n")


def test_active_import_is_no_leftover(root):
    publication = Publication(root)
    staging = publication.begin()
    try:
        assert check(root).notes[0].writer.startswith(f"process {os.getpid()} on ")
    finally:
        publication.end()
    assert check(root).notes == []
    staging.mkdir()
    assert [note.names for note in check(root).notes] == [(staging.name,)]


def test_repair_updates_the_path_of_a_moved_tokenizer(tiny, tmp_path, monkeypatch, capsys):
    hf, first = tiny.hf, tmp_path / "first"
    AutoBridge.import_ckpt(hf, first, release=True)
    assert not check(first).notes
    root = first.rename(tmp_path / "second")
    (note,) = check(root).notes
    assert (type(note), note.path, note.repair) == (MovedTokenizer, f"{first}/release/tokenizer", root)
    before = torch.load(root / "release/common.pt", weights_only=True)
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert main(["repair", "second"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "write release/common.pt (new path of the tokenizer)",
        "write release/integrity.json",
    ]
    found = torch.load(root / "release/common.pt", weights_only=True)
    assert vars(found.pop("args")) == vars(before.pop("args")) | {"tokenizer_model": f"{root}/release/tokenizer"}
    assert found.keys() == before.keys()
    assert check(root).passed and not check(root).notes and repair(root) == []
    assert load_tokenizer(str(root)).vocab_size == 512
