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

"""What a check finds in a checkpoint folder: files, formats, checksums, args, and how to start from it."""

import json
import os
import subprocess
import sys
from argparse import Namespace

import pytest
from roots import SHARD

from megatron.bridge.release.checkpoint_dir import read_run_config
from megatron.bridge.release.errors import CorruptFileError, MissingReleaseError, shell_option
from megatron.bridge.release.layout import FLAGS_FILE, TRAIN_STATE_TRACKER
from megatron.bridge.release.manifest import files_of
from megatron.bridge.release.source.provenance import SourceRecord, write_source
from megatron.bridge.release.verify.args import NEEDED_ARGS
from megatron.bridge.release.verify.check import check
from megatron.bridge.release.verify.errors import ArgsShapeMismatch, MissingArgs
from megatron.bridge.release.verify.findings import (
    IgnoredRopeFactor,
    MissingManifest,
    OutsideSymlink,
    SpecialFiles,
    TrainStateTracker,
    UnknownSourceModel,
    UnlistedFiles,
    UnsupportedFormat,
    WrongArgs,
)
from megatron.bridge.release.verify.launch import RUN_FLAGS
from megatron.bridge.release.verify.report import BRIDGE, MEGATRON_LM, OLDER_MEGATRON_LM, UPSTREAM


# What a release has, beside its tokenizer; and whether a repair writes a damaged one anew.
FILES = {
    ".metadata": False,
    SHARD: False,
    "common.pt": True,
    "integrity.json": True,
    "megatron_lm_args.txt": True,
    "metadata.json": False,
    "run_config.yaml": False,
    "source.json": True,
    "tokenizer/tokenizer.json": False,
    "train_state.pt": False,
}


def _problem(report):
    (problem,) = report.problems
    return problem


def _unreadable(release) -> set[str]:
    """Return the readers that cannot load a release, except for upstream's, which supports none."""
    return {reader.name for reader in check(release.root).readers if reader.reason is not None} - {UPSTREAM}


def test_check_lists_and_verifies_every_file(release):
    report = check(release.root)
    assert report.files.keys() == FILES.keys() == set(files_of(release.folder))
    for name, file in report.files.items():
        assert (file.name, file.size, file.status) == (name, (release.folder / name).stat().st_size, "ok")
        assert file.is_verified == (name != "integrity.json")
    assert report.files[SHARD].expected_size == report.files[SHARD].size


@pytest.mark.parametrize("name", FILES)
def test_check_reports_each_missing_file(release, name):
    (release.folder / name).unlink()
    report = check(release.root)
    problem = next(problem for problem in report.problems if problem.file == release.folder / name)
    if name == "integrity.json":
        assert type(problem) is MissingManifest
    else:
        assert (problem.status, problem.reason) == ("missing", None)
        assert report.files.keys() == FILES.keys()
    assert problem.is_repairable == (FILES[name] or name == "train_state.pt")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"x", lambda data: b""])
def test_truncated_or_longer_file_is_found(release, name, change):
    file = release.folder / name
    file.write_bytes(change(file.read_bytes()))
    report = check(release.root)
    assert report.files[name].status in ("corrupt", "truncated")
    assert any(getattr(problem, "file", None) == file for problem in report.problems)
    assert bool(report.unrepairable) == (not FILES[name])


# What describes the checkpoint is read before it is compared.
@pytest.mark.parametrize("name", sorted(FILES.keys() - {"integrity.json", ".metadata", "metadata.json"}))
def test_flipped_bit_is_a_checksum_mismatch(release, name):
    file = release.folder / name
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    report = check(release.root)
    problem = next(problem for problem in report.problems if problem.file == file)
    assert (problem.status, problem.reason) == ("corrupt", "checksum mismatch")
    unverified = sorted(file.name for file in report.files.values() if not file.is_verified)
    assert unverified == sorted(["integrity.json", name])


def test_unlisted_file_is_a_note_or_a_problem_for_tokenizers(release):
    (release.folder / "notes.txt").touch()
    report = check(release.root)
    assert report.passed
    (note,) = report.notes
    assert type(note) is UnlistedFiles
    assert note.names == ("notes.txt",)
    (release.folder / "tokenizer/more.json").write_text("{}")
    problem = _problem(check(release.root))
    assert (problem.file.name, problem.reason) == ("integrity.json", "does not list tokenizer/more.json")
    assert problem.repair == release.root


def test_flipped_bit_of_a_tensor_is_found_without_a_manifest(release):
    (release.folder / "integrity.json").unlink()
    assert type(_problem(check(release.root))) is MissingManifest
    shard = release.folder / SHARD
    data = shard.read_bytes()
    values = data.index(bytes(range(128)))
    shard.write_bytes(data[:values] + b"\1" + data[values + 1 :])
    (problem,) = check(release.root).unrepairable
    assert (problem.file, problem.status) == (shard, "corrupt")
    assert problem.reason == "embedding.word_embeddings.weight: checksum mismatch in archive/data/0"


def test_size_mismatch_is_reported_without_reading_tensors(release):
    release.rename("iter_0000005", "5")
    (release.folder / "integrity.json").unlink()
    shard = release.folder / SHARD
    size = shard.stat().st_size
    os.truncate(shard, size - 1)
    problem = _problem(check(release.root))
    assert (problem.file, problem.status) == (shard, "truncated")
    assert problem.reason == f"{size - 1} bytes, expected {size}"


@pytest.mark.parametrize("name", ["release", "iter_0000005"])
def test_symlinks_add_single_problem(release, name):
    release.rename(name, "release" if name == "release" else "5")
    for number in range(5):
        (release.folder / f"link{number}").symlink_to("common.pt" if number else "nowhere")
    report = check(release.root)
    problem = _problem(report)
    assert type(problem) is SpecialFiles
    assert problem.names == tuple(f"link{number}" for number in range(5))
    assert report.unrepairable == report.problems


def test_symlink_out_of_the_checkpoint_directory_is_not_followed(release, tmp_path):
    release.folder.rename(tmp_path / "elsewhere")
    release.folder.symlink_to(tmp_path / "elsewhere")
    report = check(release.root)
    assert type(_problem(report)) is OutsideSymlink
    assert report.unrepairable == report.problems


@pytest.mark.parametrize("backend", ["zarr", None])
def test_unknown_checkpoint_format_is_unsupported(release, backend):
    (release.folder / "metadata.json").write_text(json.dumps({"sharded_backend": backend}))
    release.seal()
    (problem,) = check(release.root).unrepairable
    assert type(problem) is UnsupportedFormat
    assert problem.backend == backend


@pytest.mark.parametrize("text", ['{"other": 1}', "[]", "{", ""])
def test_invalid_format_file_is_corrupt(release, text):
    (release.folder / "metadata.json").write_text(text)
    release.seal()
    (problem,) = check(release.root).unrepairable
    assert (problem.file.name, problem.status) == ("metadata.json", "corrupt")


def test_tensor_without_storage_is_found(release, shapes):
    release.write_tensors(shapes, layers_stored=1)
    release.seal()
    layers = [key for key in shapes if key.startswith("decoder")]
    problem = _problem(check(release.root))
    assert (problem.file.name, problem.reason) == (".metadata", f"no storage entry for {', '.join(layers)}")


@pytest.mark.parametrize("key", ["embedding.word_embeddings.weight", "decoder.layers.mlp.linear_fc2.weight"])
def test_args_that_do_not_match_the_tensors_concern_megatron_lm(release, shapes, key):
    *rest, last = shapes[key]
    release.write_tensors(shapes | {key: (*rest, last + 1)})
    release.seal()
    report = check(release.root)
    problem = _problem(report)
    assert type(problem) is WrongArgs
    assert problem.problem == report.args_problem == ArgsShapeMismatch(key, (*rest, last + 1), shapes[key])
    assert problem.is_repairable
    assert _unreadable(release) == {MEGATRON_LM, OLDER_MEGATRON_LM}


def test_args_are_counted_and_missing_ones_are_named(release, args):
    assert check(release.root).args == len(args)
    release.write_state("common.pt", {"iteration": 0})
    release.seal()
    report = check(release.root)
    assert report.args is None
    assert report.args_problem == MissingArgs(NEEDED_ARGS)


def test_embedded_common_state_is_read_without_common_pt(release, shapes, args):
    release.write_tensors(shapes, {"args": Namespace(**args)})
    (release.folder / "common.pt").unlink()
    release.seal()
    report = check(release.root)
    problem = _problem(report)
    assert (problem.file.name, problem.status) == ("common.pt", "missing")
    assert report.args == len(args)
    assert _unreadable(release) == {OLDER_MEGATRON_LM}


def test_corrupt_common_state_is_found_without_common_pt(release, shapes, args):
    release.write_tensors(shapes, {"args": Namespace(**args)})
    (release.folder / "common.pt").unlink()
    shard = release.folder / SHARD
    shard.write_bytes(shard.read_bytes()[:-22] + b"x" * 22)
    release.seal()
    (problem,) = check(release.root).unrepairable
    assert (problem.file, problem.reason) == (shard, "common_state/shard_0_1: File is not a zip file")


@pytest.mark.parametrize(
    ("factor", "scaled", "noted"), [(32.0, True, True), (8.0, True, False), (None, True, False), (32.0, False, False)]
)
def test_rope_factor_that_megatron_lm_ignores_is_a_note(release, factor, scaled, noted):
    release.write_args(use_rope_scaling=scaled, rope_scaling_factor=factor)
    release.seal()
    report = check(release.root)
    assert report.passed
    assert [(type(note), note.factor) for note in report.notes] == [(IgnoredRopeFactor, 32.0)] * noted


@pytest.mark.parametrize("exists", [True, False])
def test_moved_tokenizer_is_a_note(release, tmp_path, exists):
    place = tmp_path / "moved"
    if exists:
        place.mkdir()
    release.write_args(tokenizer_model=str(place))
    release.seal()
    report = check(release.root)
    assert report.passed
    assert report.has_moved_tokenizer == (not exists)
    assert [(note.path, note.repair) for note in report.notes] == [(str(place), release.root)] * (not exists)


@pytest.mark.parametrize(("name", "noted"), [("org/name", False), ("name", False), ("ckpt/release/tokenizer", True)])
def test_model_id_is_no_path_of_a_tokenizer(release, name, noted):
    release.write_args(tokenizer_model=name)
    release.seal()
    assert check(release.root).has_moved_tokenizer == noted


def test_missing_tokenizer_is_a_note(release):
    (release.folder / "tokenizer/tokenizer.json").unlink()
    release.seal()
    report = check(release.root)
    assert report.passed
    assert [note.content for note in report.notes] == ["tokenizer"]


@pytest.mark.parametrize("text", ["", "[]", "model: 5\n", "other: {}\n", "[", "!!python/name:os.system ''\n"])
def test_run_config_without_a_model_concerns_bridge(release, text):
    (release.folder / "run_config.yaml").write_text(text)
    release.seal()
    problem = _problem(check(release.root))
    assert (problem.file.name, problem.status) == ("run_config.yaml", "corrupt")
    assert _unreadable(release) == {BRIDGE}


def test_files_are_read_alike_in_every_locale(release):
    """json and yaml files are UTF-8, which a locale such as C is not to Python."""
    (release.folder / "tokenizer/tokenizer.json").write_text('{"model": "größe ▁"}', encoding="utf-8")
    (release.folder / "run_config.yaml").write_text("model: {name: größe}\n", encoding="utf-8")
    release.seal()
    code = "import sys; from pathlib import Path; from megatron.bridge.release.verify.check import check; "
    code += "print(sys.flags.utf8_mode, ascii(check(Path(sys.argv[1])).problems))"
    environment = os.environ | {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    command = [sys.executable, "-c", code, str(release.root)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "0 []\n"


def test_corrupt_yaml_is_named(tmp_path):
    (tmp_path / "run_config.yaml").write_text("[")
    with pytest.raises(CorruptFileError) as raised:
        read_run_config(tmp_path)
    assert raised.value.file == tmp_path / "run_config.yaml"


@pytest.mark.parametrize("state", [{"other": 1}, {"step": "none"}])
def test_train_state_without_a_step_is_corrupt(release, state):
    release.write_state("train_state.pt", state)
    (release.root / TRAIN_STATE_TRACKER).write_bytes((release.folder / "train_state.pt").read_bytes())
    release.seal()
    problem = _problem(check(release.root))
    assert (problem.file.name, problem.status, problem.reason) == ("train_state.pt", "corrupt", "it has no step")


def test_bridges_tracker_must_be_the_train_state_of_the_release(release):
    tracker = release.root / TRAIN_STATE_TRACKER
    tracker.write_bytes(tracker.read_bytes() + b"x")
    problem = _problem(check(release.root))
    assert (type(problem), problem.file, problem.is_missing) == (TrainStateTracker, tracker, False)
    assert _unreadable(release) == {BRIDGE}
    tracker.unlink()
    assert _problem(check(release.root)).is_missing


def test_waived_losses_and_an_unknown_source_model_are_notes(release):
    write_source(SourceRecord("org/other", waived=("A tensor was left out.",)), release.folder)
    release.seal()
    report = check(release.root)
    assert report.source_model == "org/other"
    assert [note.loss for note in report.notes] == ["A tensor was left out."]
    (release.folder / "source.json").unlink()
    release.seal()
    (note,) = check(release.root).notes
    assert (type(note), note.repair) == (UnknownSourceModel, release.root)
    (release.folder / "run_config.yaml").write_text("model: {}\n")
    release.seal()
    report = check(release.root)
    assert report.source_model is None
    assert [note.repair for note in report.notes] == [None]


def test_launch_contains_flags_tokenizer_and_directory(release):
    tokenizer = ["--tokenizer-type", "HuggingFaceTokenizer", "--tokenizer-model", str(release.folder / "tokenizer")]
    load = ["--load", str(release.root), "--exit-on-missing-checkpoint"]
    flags = (release.folder / FLAGS_FILE).read_text().split()
    assert check(release.root).launch == [*flags, *tokenizer, *load, *RUN_FLAGS]
    (release.folder / "tokenizer/tokenizer.json").unlink()
    (release.folder / "tokenizer").rmdir()
    release.seal()
    assert check(release.root).launch == [*flags, *load, *RUN_FLAGS]
    release.write_args(num_layers=None)
    assert check(release.root).launch == []


def test_release_outside_the_directory_yields_no_flags(release, tmp_path):
    written = (release.folder / "common.pt").read_bytes()
    release.rename("iter_0000005", "5")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/common.pt").write_bytes(written)
    (release.root / "release").symlink_to(tmp_path / "elsewhere")
    assert check(release.root).launch == []
    (release.root / "release").unlink()
    (tmp_path / "elsewhere").rename(release.root / "release")
    assert check(release.root).launch[0] == "--num-layers=2"


def test_training_without_args_is_a_note(release):
    release.rename("iter_0000005", "5")
    assert check(release.root).notes == []
    release.write_state("common.pt", {"iteration": 5})
    release.seal()
    report = check(release.root)
    assert report.passed
    assert [note.content for note in report.notes] == ["args"]


def test_training_with_changed_arguments_adds_note(release, args):
    release.rename("iter_0000005", "5")
    (release.root / "release").mkdir()
    written = (release.folder / "common.pt").read_bytes()
    release.write_state("common.pt", {"args": Namespace(**args | {"rotary_base": 7}), "iteration": 5})
    release.seal()
    assert check(release.root).notes == []
    (release.root / "release/common.pt").write_bytes(written)
    report = check(release.root)
    assert report.passed
    assert [note.differences for note in report.notes] == [{"rotary_base": (7, 10000)}]
    assert "--rotary-base=7" in report.launch


@pytest.mark.parametrize("changes", [{"num_layers": 99}, {"num_layers": None}])
def test_args_of_a_training_that_do_not_fit_are_a_note(release, changes):
    release.rename("iter_0000005", "5")
    release.write_args(**changes)
    release.seal()
    (note,) = [note for note in check(release.root).notes if isinstance(note, WrongArgs)]
    assert (note.folder, note.repair) == (release.folder, None)


def test_training_checkpoint_uses_run_config_of_sibling_release(release):
    release.rename("iter_0000005", "5")
    (release.folder / "run_config.yaml").unlink()
    release.seal()

    def reasons(*named):
        report = check(release.root, *named)
        assert report.passed
        return {reader.name: reader.reason for reader in report.readers if reader.reason is not None}

    found = reasons()
    assert found.keys() == {BRIDGE, UPSTREAM}
    assert all(reason.missing_file == "run_config.yaml" for reason in found.values())
    assert found[BRIDGE].advice == MissingReleaseError(release.root, "checkpoint").text(shell_option)
    named = release.root.parent / "named/release"
    named.mkdir(parents=True)
    (named / "run_config.yaml").write_text("model: {}\n")
    assert reasons(named).keys() == {UPSTREAM}
    (release.root / "release").mkdir()
    assert reasons()[BRIDGE].advice == "release/ contains none."
    (release.root / "release/run_config.yaml").write_text("model: {}\n")
    assert reasons().keys() == {UPSTREAM}


def test_repair_writes_no_file_of_a_training(release):
    release.rename("iter_0000005", "5")
    (release.folder / "common.pt").write_bytes(b"")
    problem = _problem(check(release.root))
    assert (problem.file.name, problem.reason, problem.repair) == ("common.pt", "checksum mismatch", None)


def test_training_has_the_source_model_of_the_sibling_release(release):
    release.rename("iter_0000005", "5")
    assert check(release.root).source_model is None
    (release.root / "release").mkdir()
    write_source(SourceRecord("org/model"), release.root / "release")
    assert check(release.root).source_model == "org/model"
    (release.root / "release/source.json").write_text("{")
    report = check(release.root)
    assert report.passed
    assert report.source_model is None
