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

from megatron.bridge.release.errors import CorruptFileError
from megatron.bridge.release.layout import FLAGS_FILE, TRAIN_STATE_TRACKER
from megatron.bridge.release.manifest import files_of
from megatron.bridge.release.source.provenance import SourceRecord, write_source
from megatron.bridge.release.checkpoint_dir import read_run_config
from megatron.bridge.release.verify.check import check
from megatron.bridge.release.verify.launch_flags import RUN_FLAGS
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


def _problem(release) -> str:
    """The only problem, less the folder's name and what to do."""
    report = check(release.root)
    (problem,) = report.problems
    repair = f" python -m megatron.bridge.release repair {release.root}"
    restore = " Restore it from a copy, or import the model again."
    assert problem.endswith(restore if report.beyond_repair else repair)
    assert report.beyond_repair in ([], [problem])
    return problem.removesuffix(repair).removesuffix(restore).removeprefix(f"{release.folder}/")


def _stopped(release) -> set[str]:
    """The readers that cannot load a release, but for the one that knows none."""
    return {reader.name for reader in check(release.root).readers if not reader.loads} - {UPSTREAM}


def test_every_file_is_listed_with_its_size_and_compared_with_its_checksum(release):
    files = {file.name: file for file in check(release.root).files}
    assert files.keys() == FILES.keys() == set(files_of(release.folder))
    for name, file in files.items():
        assert file.size == (release.folder / name).stat().st_size and file.problem is None
        assert file.verified == (name != "integrity.json")
    assert files[SHARD].expected == files[SHARD].size


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_missing_is_named_by_its_checksum_or_by_what_asks_for_it(release, name):
    (release.folder / name).unlink()
    report = check(release.root)
    assert any(problem.startswith(f"{release.folder / name} is missing") for problem in report.problems)
    repairable = FILES[name] or name == "train_state.pt"
    assert any(name in problem for problem in report.beyond_repair) == (not repairable)
    assert not any("Errno" in problem for problem in report.problems)
    assert {file.name for file in report.files} | {name} == FILES.keys()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"x", lambda data: b""])
def test_a_file_that_is_cut_short_or_goes_on_is_named(release, name, change):
    file = release.folder / name
    file.write_bytes(change(file.read_bytes()))
    report = check(release.root)
    assert any(problem.startswith(f"{file} ") for problem in report.problems)
    assert bool(report.beyond_repair) == (not FILES[name])


# What describes the checkpoint is read before it is compared.
@pytest.mark.parametrize("name", sorted(FILES.keys() - {"integrity.json", ".metadata", "metadata.json"}))
def test_a_file_with_one_bit_flipped_has_another_checksum(release, name):
    file = release.folder / name
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    report = check(release.root)
    expected = f"{file} has another checksum than when it was written."
    assert any(problem.startswith(expected) for problem in report.problems)
    assert [each.name for each in report.files if not each.verified] == sorted(["integrity.json", name])


def test_a_file_more_is_a_note_and_one_of_the_tokenizer_is_a_problem(release):
    (release.folder / "notes.txt").touch()
    report = check(release.root)
    assert report.passed
    assert report.notes == [
        f"{release.folder} holds files that integrity.json does not name, not the checkpoint's own: notes.txt."
    ]
    (release.folder / "tokenizer/more.json").write_text("{}")
    assert _problem(release) == "integrity.json does not name tokenizer/more.json."


def test_without_checksums_a_flipped_bit_of_a_tensor_is_found_all_the_same(release):
    (release.folder / "integrity.json").unlink()
    (problem,) = check(release.root).problems
    assert problem.startswith(f"{release.folder}/integrity.json is missing: damage may go unseen")
    shard = release.folder / SHARD
    data = shard.read_bytes()
    values = data.index(bytes(range(128)))
    shard.write_bytes(data[:values] + b"\1" + data[values + 1 :])
    (problem,) = check(release.root).beyond_repair
    expected = "is damaged in embedding.word_embeddings.weight (archive/data/0 has another checksum)."
    assert problem.startswith(f"{shard} {expected}")


def test_without_checksums_a_shard_of_another_size_is_found_and_none_of_its_tensors_is_read(release):
    release.rename("iter_0000005", "5")
    (release.folder / "integrity.json").unlink()
    shard = release.folder / SHARD
    size = shard.stat().st_size
    os.truncate(shard, size - 1)
    assert _problem(release) == f"{SHARD} has {size - 1} bytes and should have {size}."


def test_the_checksums_of_before_are_read_and_noted(release):
    digests = json.loads((release.folder / "integrity.json").read_text())["files"]
    (release.folder / "integrity.json").unlink()
    (release.folder / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for name, digest in digests.items()))
    report = check(release.root)
    assert report.passed and all(file.verified for file in report.files if file.name != "SHA256SUMS")
    assert report.notes == [
        f"{release.folder}/SHA256SUMS replaces integrity.json, which Megatron-LM's --verify-integrity requires. "
        f"python -m megatron.bridge.release repair {release.root}"
    ]


@pytest.mark.parametrize("name", ["release", "iter_0000005"])
def test_a_link_is_not_followed(release, name):
    release.rename(name, "release" if name == "release" else "5")
    (release.folder / "link").symlink_to("common.pt")
    report = check(release.root)
    assert (
        report.problems
        == report.beyond_repair
        == [f"{release.folder}/link is a link, or no file: it is not followed. Put the file itself there."]
    )
    for number in range(1, 6):
        (release.folder / f"link{number}").symlink_to("nowhere")
        more = [f"{release.folder} holds {number - 2} more links, or what is no file."] if number > 2 else []
        assert check(release.root).problems[3:] == more


def test_a_folder_that_leads_out_of_the_root_is_not_followed(release, tmp_path):
    release.folder.rename(tmp_path / "elsewhere")
    release.folder.symlink_to(tmp_path / "elsewhere")
    report = check(release.root)
    assert (
        report.problems
        == report.beyond_repair
        == [f"{release.folder} is a link that leads out of the root. Put the checkpoint itself there."]
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"sharded_backend": "zarr"}', "metadata.json says 'zarr', and only torch_dist can be checked."),
        ('{"sharded_backend": null}', "metadata.json says None, and only torch_dist can be checked."),
        ('{"other": 1}', "metadata.json is damaged ('sharded_backend')."),
        ("[]", "metadata.json is damaged (list indices must be"),
        ("{", "metadata.json is damaged (Expecting"),
        ("", "metadata.json is damaged (Expecting"),
    ],
)
def test_another_format_is_told(release, text, expected):
    (release.folder / "metadata.json").write_text(text)
    release.seal()
    (problem,) = check(release.root).beyond_repair
    assert problem.startswith(f"{release.folder}/{expected}")


def test_a_tensor_of_which_a_layer_is_stored_nowhere_is_named(release, shapes):
    release.write_tensors(shapes, layers_stored=1)
    release.seal()
    layers = [key for key in shapes if key.startswith("decoder")]
    assert _problem(release) == f".metadata does not say where {', '.join(layers)} is stored."


@pytest.mark.parametrize("key", ["embedding.word_embeddings.weight", "decoder.layers.mlp.linear_fc2.weight"])
def test_args_that_are_not_the_tensors_stop_megatron_lm_and_no_other(release, shapes, key):
    *rest, last = shapes[key]
    release.write_tensors(shapes | {key: (*rest, last + 1)})
    release.seal()
    report = check(release.root)
    stored = " by ".join(map(str, (*rest, last + 1)))
    assert report.args_problem == f"{key} is {stored}, and args say {' by '.join(map(str, shapes[key]))}"
    assert report.problems == [
        f"{release.folder}: {report.args_problem}. python -m megatron.bridge.release repair {release.root}"
    ]
    assert report.beyond_repair == [] and _stopped(release) == {MEGATRON_LM, OLDER_MEGATRON_LM}


def test_the_args_are_counted_and_without_any_the_first_missing_ones_are_named(release, args):
    assert check(release.root).args == len(args)
    release.write_state("common.pt", {"iteration": 0})
    release.seal()
    report = check(release.root)
    assert report.args is None
    assert report.args_problem.startswith("args that Megatron-LM needs are missing: num_layers, hidden_size, ")


def test_without_a_file_of_its_own_the_common_state_among_the_tensors_is_read(release, shapes, args):
    release.write_tensors(shapes, {"args": Namespace(**args)})
    (release.folder / "common.pt").unlink()
    release.seal()
    assert _problem(release) == "common.pt is missing."
    assert check(release.root).args == len(args) and _stopped(release) == {OLDER_MEGATRON_LM}


def test_a_damaged_common_state_among_the_tensors_is_told_where_it_is_the_only_one(release, shapes, args):
    release.write_tensors(shapes, {"args": Namespace(**args)})
    (release.folder / "common.pt").unlink()
    shard = release.folder / SHARD
    shard.write_bytes(shard.read_bytes()[:-22] + b"x" * 22)
    release.seal()
    (problem,) = check(release.root).beyond_repair
    assert problem == (
        f"{release.folder}: common_state/shard_0_1 in {SHARD} cannot be read: File is not a zip file. "
        "Restore it from a copy, or import the model again."
    )


@pytest.mark.parametrize(
    ("factor", "scaled", "noted"), [(32.0, True, True), (8.0, True, False), (None, True, False), (32.0, False, False)]
)
def test_a_rope_factor_that_the_builder_ignores_is_noted(release, factor, scaled, noted):
    release.write_args(use_rope_scaling=scaled, rope_scaling_factor=factor)
    release.seal()
    report = check(release.root)
    assert report.passed and len(report.notes) == noted
    assert all("-m megatron.bridge.release.megatron_lm" in note for note in report.notes)


@pytest.mark.parametrize("there", [True, False])
def test_a_tokenizer_that_is_no_longer_where_the_args_say_is_noted(release, tmp_path, there):
    place = tmp_path / "moved"
    if there:
        place.mkdir()
    release.write_args(tokenizer_model=str(place))
    release.seal()
    report = check(release.root)
    repair = f"python -m megatron.bridge.release repair {release.root}"
    assert report.passed and report.tokenizer_moved == (not there)
    assert report.notes == ([] if there else [f"args.tokenizer_model {place} is not there: {repair}"])


@pytest.mark.parametrize(("name", "noted"), [("org/name", False), ("name", False), ("ckpt/release/tokenizer", True)])
def test_a_model_id_is_no_place_of_a_tokenizer_and_a_relative_place_is_no_id(release, name, noted):
    release.write_args(tokenizer_model=name)
    release.seal()
    assert check(release.root).tokenizer_moved == noted


def test_without_a_tokenizer_the_flags_to_give_are_noted(release):
    (release.folder / "tokenizer/tokenizer.json").unlink()
    release.seal()
    report = check(release.root)
    assert report.passed
    assert report.notes == ["The checkpoint contains no tokenizer. Pass --tokenizer-type and --tokenizer-model."]


@pytest.mark.parametrize("text", ["", "[]", "model: 5\n", "other: {}\n", "[", "!!python/name:os.system ''\n"])
def test_a_run_config_that_describes_no_model_stops_bridge(release, text):
    (release.folder / "run_config.yaml").write_text(text)
    release.seal()
    assert _problem(release).startswith("run_config.yaml is corrupt: ")
    assert _stopped(release) == {BRIDGE}


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


def test_yaml_that_is_damaged_is_named(tmp_path):
    (tmp_path / "run_config.yaml").write_text("[")
    with pytest.raises(CorruptFileError, match=f"^{tmp_path}/run_config.yaml is corrupt: ParserError"):
        read_run_config(tmp_path)


def test_a_train_state_without_a_step_stops_bridge(release):
    release.write_state("train_state.pt", {"other": 1})
    (release.root / TRAIN_STATE_TRACKER).write_bytes((release.folder / "train_state.pt").read_bytes())
    release.seal()
    assert _problem(release) == "train_state.pt is no train state ('step')."
    release.write_state("train_state.pt", {"step": "none"})
    release.seal()
    assert "train_state.pt is no train state (it has no step)" in check(release.root).problems[0]


def test_bridges_tracker_is_the_releases_train_state(release):
    tracker = release.root / TRAIN_STATE_TRACKER
    repair = f"python -m megatron.bridge.release repair {release.root}"
    tracker.write_bytes(tracker.read_bytes() + b"x")
    assert check(release.root).problems == [f"{tracker} differs from release/train_state.pt. {repair}"]
    assert _stopped(release) == {BRIDGE}
    tracker.unlink()
    assert check(release.root).problems == [f"{tracker} is missing. {repair}"]


def test_what_was_let_through_is_repeated_and_a_release_that_does_not_say_its_model_is_noted(release):
    write_source(SourceRecord("org/other", waived=("A tensor was left out.",)), release.folder)
    release.seal()
    report = check(release.root)
    assert report.made_of == "org/other"
    assert report.notes == ["Allowed at the import: A tensor was left out."]
    (release.folder / "source.json").unlink()
    release.seal()
    says_not = f"{release.folder} does not record its source model."
    assert check(release.root).notes == [f"{says_not} python -m megatron.bridge.release repair {release.root}"]
    (release.folder / "run_config.yaml").write_text("model: {}\n")
    release.seal()
    report = check(release.root)
    assert report.made_of is None and report.notes == [says_not]


def test_the_launch_has_the_flags_the_tokenizer_and_the_root(release):
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


def test_no_flags_are_taken_from_out_of_the_root(release, tmp_path):
    written = (release.folder / "common.pt").read_bytes()
    release.rename("iter_0000005", "5")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/common.pt").write_bytes(written)
    (release.root / "release").symlink_to(tmp_path / "elsewhere")
    assert check(release.root).launch == []
    (release.root / "release").unlink()
    (tmp_path / "elsewhere").rename(release.root / "release")
    assert check(release.root).launch[0] == "--num-layers=2"


def test_a_training_without_args_is_noted_and_no_problem(release):
    release.rename("iter_0000005", "5")
    assert check(release.root).notes == []
    release.write_state("common.pt", {"iteration": 5})
    release.seal()
    report = check(release.root)
    assert report.passed and report.notes == [
        "The checkpoint contains no args. Pass all flags of the model to Megatron-LM."
    ]


def test_a_training_with_other_arguments_than_the_release_is_noted_and_no_problem(release, args):
    release.rename("iter_0000005", "5")
    (release.root / "release").mkdir()
    written = (release.folder / "common.pt").read_bytes()
    release.write_state("common.pt", {"args": Namespace(**args | {"rotary_base": 7}), "iteration": 5})
    release.seal()
    assert check(release.root).notes == []
    (release.root / "release/common.pt").write_bytes(written)
    report = check(release.root)
    (note,) = report.notes
    assert report.passed and "rotary_base=7 (release: 10000)" in note
    assert "--rotary-base=7" in report.launch


def test_of_a_training_bridges_files_are_asked_of_the_release_beside_it(release):
    release.rename("iter_0000005", "5")
    (release.folder / "run_config.yaml").unlink()
    release.seal()
    report = check(release.root)
    assert report.passed
    reasons = {reader.name: reader.why for reader in report.readers if not reader.loads}
    assert reasons == {
        BRIDGE: f"run_config.yaml is missing. {release.root} contains no release/. If the training started from another "
        "checkpoint directory, name it with --release CKPT.",
        UPSTREAM: "run_config.yaml is missing, which it reads",
    }
    named = release.root.parent / "named/release"
    named.mkdir(parents=True)
    (named / "run_config.yaml").write_text("model: {}\n")
    assert {reader.name for reader in check(release.root, named).readers if not reader.loads} == {UPSTREAM}
    (release.root / "release").mkdir()
    reasons = {reader.name: reader.why for reader in check(release.root).readers if not reader.loads}
    assert reasons[BRIDGE] == "run_config.yaml is missing, here and in release/"
    (release.root / "release/run_config.yaml").write_text("model: {}\n")
    assert {reader.name for reader in check(release.root).readers if not reader.loads} == {UPSTREAM}


def test_a_damaged_file_of_a_training_is_not_for_repair_to_write(release):
    release.rename("iter_0000005", "5")
    (release.folder / "common.pt").write_bytes(b"")
    assert _problem(release) == "common.pt has another checksum than when it was written."


def test_a_training_has_the_source_model_of_the_release_next_to_it(release):
    release.rename("iter_0000005", "5")
    assert check(release.root).made_of is None
    (release.root / "release").mkdir()
    write_source(SourceRecord("org/model"), release.root / "release")
    assert check(release.root).made_of == "org/model"
    (release.root / "release/source.json").write_text("{")
    report = check(release.root)
    assert report.made_of is None and report.passed
