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
from megatron.bridge.release.verify.args import NEEDED_ARGS
from megatron.bridge.release.verify.check import check
from megatron.bridge.release.verify.dcp_metadata import read_metadata, read_state
from megatron.bridge.release.verify.launch_flags import RUN_FLAGS
from megatron.bridge.release.verify.report import BRIDGE, MEGATRON_LM, OLDER_MEGATRON_LM, UPSTREAM
from megatron.bridge.release.write.publish import Publication
from megatron.bridge.training.model_load_save import load_tokenizer


def _loads(root: Path) -> dict[str, bool]:
    return {reader.name: reader.loads for reader in check(root).readers}


def test_a_release_loads_where_it_should_and_the_flags_to_start_with_are_its_own(tiny, capsys):
    assert main(["check", str(tiny.root), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["loadable"] and not report["problems"] and not report["notes"]
    assert (report["layout"], report["tracker"], report["folder"]) == ("release", "release", "release")
    assert report["source_model"] == str(tiny.hf)
    assert {file["name"] for file in report["files"]} == {*contents(tiny.root / "release")}
    assert all(file["verified"] for file in report["files"] if file["name"] != INTEGRITY_FILE)
    loads = {reader["name"]: reader["loads"] for reader in report["readers"]}
    assert loads == {MEGATRON_LM: True, OLDER_MEGATRON_LM: True, BRIDGE: True, UPSTREAM: False}
    flags = (tiny.root / "release" / "megatron_lm_args.txt").read_text().split()
    assert report["launch"] == [
        *(*flags, "--tokenizer-type", "HuggingFaceTokenizer"),
        *("--tokenizer-model", str(tiny.root / "release" / "tokenizer")),
        *("--load", str(tiny.root), "--exit-on-missing-checkpoint", *RUN_FLAGS),
    ]


def test_the_table_names_every_file_and_reader_and_the_launch(tiny, capsys):
    assert main(["check", str(tiny.root)]) == 0
    shown = capsys.readouterr().out
    for path in contents(tiny.root / "release"):
        assert f" {path} " in shown
    assert "It loads." in shown and f"--load {tiny.root} --exit-on-missing-checkpoint" in shown
    assert "it does not support release checkpoints" in shown


def test_it_starts_without_torch_and_without_bridge(tiny):
    code = (
        "import sys\n"
        "from megatron.bridge.release.__main__ import main\n"
        "assert main(['check', sys.argv[1]]) == 0\n"
        "print(sorted(sys.modules.keys() & {'torch', 'numpy', 'megatron.core', 'megatron.bridge.models'}))\n"
    )
    run = subprocess.run([sys.executable, "-c", code, tiny.root], capture_output=True, text=True, check=True)
    assert run.stdout.endswith("\n[]\n")


def test_what_it_reads_of_the_metadata_is_what_torch_reads(tiny):
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


def test_what_it_reads_of_the_args_is_what_torch_reads(tiny):
    expected = vars(stored_args(tiny.root))
    found = vars(read_state(tiny.root / "release")["args"])
    assert found == {name: str(value) if isinstance(value, torch.dtype) else value for name, value in expected.items()}
    assert set(NEEDED_ARGS) <= found.keys()


def test_files_that_are_not_the_checkpoints_are_no_damage_and_one_note(root):
    folder = root / "release"
    (folder / "NOTES.md").write_text("mine")
    report = check(root)
    assert report.passed
    own = f"{folder} holds files that integrity.json does not name, not the checkpoint's own: "
    assert report.notes == [f"{own}NOTES.md."]
    (folder / "runs").mkdir()
    for number in range(10_000):
        (folder / f"runs/{number:05d}").touch()
    report = check(root)
    assert report.passed
    assert report.notes == [f"{own}NOTES.md, runs/00000, runs/00001, ... (10001 files)."]


def test_ten_thousand_links_are_not_ten_thousand_problems(root):
    for number in range(10_000):
        (root / f"release/{number}").symlink_to("common.pt")
    assert len(check(root).problems) == 4
    assert check(root).problems[-1] == f"{root}/release holds 9997 more links, or what is no file."


def test_upstreams_import_is_for_bridge_alone_and_it_says_what_to_do(default):
    report = check(default)
    assert report.layout == "import" and not report.passed
    assert _loads(default) == {MEGATRON_LM: False, OLDER_MEGATRON_LM: False, BRIDGE: True, UPSTREAM: True}
    (problem,) = report.problems
    assert problem.endswith(f"python -m megatron.bridge.release repair {default}")


@pytest.mark.parametrize(
    ("tracker", "expected"),
    [
        (
            None,
            "has no latest_checkpointed_iteration.txt: Megatron-LM treats it as empty. Checkpoints there: release.",
        ),
        ("", "contains '', neither 'release' nor an iteration number."),
        ("releas", "contains 'releas', neither 'release' nor an iteration number."),
        ("100", "names the checkpoint iter_0000100, which is not there. Checkpoints there: release."),
    ],
)
def test_a_tracker_that_is_torn_or_names_nothing_is_found(root, tracker, expected):
    (root / TRACKER).unlink() if tracker is None else (root / TRACKER).write_text(tracker)
    report = check(root)
    assert not report.passed and expected in report.problems[0]
    assert f"python -m megatron.bridge.release repair {root}" in report.problems[0]


def test_a_path_that_is_no_root_gets_one_clear_error(root, tmp_path, capsys):
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "empty").mkdir()
    for path, expected in {
        tmp_path / "missing": "missing does not exist. Pass the checkpoint directory",
        root / TRACKER: f"{TRACKER} is a file. Pass the checkpoint directory",
        tmp_path / "link": "link is a dangling link. Pass the checkpoint directory",
        root / "release": f"release is an iteration directory. Pass the checkpoint directory: {root}",
        tmp_path / "empty": "Checkpoints there: none. Import the model again, or give another folder.",
    }.items():
        assert main(["check", str(path)]) == 1
        shown = capsys.readouterr().out
        assert expected in shown and "problem 2" not in shown


def test_nothing_that_a_file_names_is_run(root, tmp_path, monkeypatch):
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
        assert any(name in problem for problem in report.problems)
    assert "it names posix.system, which no checkpoint should" in report.problems[0]
    assert main(["repair", str(root)]) == 1
    assert not marker.exists()


def test_no_path_is_followed_out_of_the_root(root, tmp_path):
    folder = root / "release"
    metadata = (folder / ".metadata").read_bytes()
    outside = tmp_path / "outside.distcp"
    file = shard(folder)
    shutil.copy(file, outside)
    # As long as the name that it takes the place of.
    name = f"../../{'x' * (len(file.name) - len('../../.dist'))}.dist"
    (folder / ".metadata").write_bytes(metadata.replace(file.name.encode(), name.encode()))
    assert f"names a file out of the folder, '{name}'" in check(root).problems[0]
    (folder / ".metadata").write_bytes(metadata)
    file.unlink()
    file.symlink_to(outside)
    report = check(root)
    assert f"{file} is a link, or no file: it is not followed" in report.problems[0]
    assert main(["repair", str(root)]) == 1
    file.unlink()
    shutil.copy(outside, file)
    for name in ("train_state.pt", "common.pt", ".metadata", "run_config.yaml", "megatron_lm_args.txt"):
        (folder / name).rename(tmp_path / name)
        (folder / name).symlink_to(tmp_path / name)
        (problem,) = check(root).problems
        assert problem.startswith(f"{folder / name} is a link, or no file: it is not followed")
        (folder / name).unlink()
        (tmp_path / name).rename(folder / name)
    assert check(root).passed
    shutil.move(folder, tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert "is a link that leads out of the root" in check(root).problems[0]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"num_layers": 7}, "linear_proj.weight is 2 by 64 by 64, and args say 7 by 64 by 64"),
        ({"kv_channels": None}, "args.kv_channels is None, no number"),
        ({"ffn_hidden_size": 97}, "linear_fc2.weight is 2 by 64 by 96, and args say 2 by 64 by 97"),
        ({"padded_vocab_size": 640}, "word_embeddings.weight is 512 by 64, and args say 640 by 64"),
        ({"untie_embeddings_and_output_weights": False}, "untie_embeddings_and_output_weights is False, and the ten"),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
)
def test_args_that_are_not_the_tensors_are_found_and_derived_anew(root, changes, expected):
    right = vars(stored_args(root))
    change_args(root, **changes)
    (problem,) = check(root).problems
    assert expected in problem
    repair(root)
    assert check(root).passed
    found = vars(stored_args(root))
    assert found == right | {"tokenizer_model": str(root / "release" / "tokenizer")}


def test_a_rope_factor_that_megatron_lms_builder_ignores_is_noted(root):
    assert not any("rope" in note for note in check(root).notes)
    change_args(root, use_rope_scaling=True, rope_scaling_factor=32.0)
    (note,) = (note for note in check(root).notes if "rope" in note)
    assert "ignores --rope-scaling-factor=32.0" in note and "megatron.bridge.release.megatron_lm" in note


def test_a_root_whose_name_is_markup_is_shown_as_it_is(tiny, tmp_path, capsys):
    root = Path(shutil.copytree(tiny.root, tmp_path / "a[red]b[/b]"))
    assert main(["check", str(root)]) == 0
    assert capsys.readouterr().out.startswith(f"{root}: release\n")


def test_an_import_at_work_is_told_from_one_that_died(root):
    publication = Publication(root)
    staging = publication.begin()
    try:
        assert f"An import is writing into it now (process {os.getpid()} on " in check(root).notes[0]
    finally:
        publication.end()
    assert check(root).notes == []
    staging.mkdir()
    assert check(root).notes == [f"An import died, and left {staging.name}. The next import or repair clears it."]


def test_a_root_that_has_moved_gets_its_tokenizers_new_place(tiny, tmp_path, monkeypatch, capsys):
    hf, first = tiny.hf, tmp_path / "first"
    AutoBridge.import_ckpt(hf, first, release=True)
    assert not check(first).notes
    root = first.rename(tmp_path / "second")
    assert check(root).notes == [
        f"args.tokenizer_model {first}/release/tokenizer is not there: python -m megatron.bridge.release repair {root}"
    ]
    before = torch.load(root / "release/common.pt", weights_only=True)
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert main(["repair", "second"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "write release/common.pt, with the tokenizer's place",
        "write release/integrity.json",
    ]
    found = torch.load(root / "release/common.pt", weights_only=True)
    assert vars(found.pop("args")) == vars(before.pop("args")) | {"tokenizer_model": f"{root}/release/tokenizer"}
    assert found.keys() == before.keys()
    assert check(root).passed and not check(root).notes and repair(root) == []
    assert load_tokenizer(str(root)).vocab_size == 512
