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

"""What a repair and a revert would do with a root, and which roots they refuse."""

import os
import shutil
from argparse import Namespace

import pytest

from megatron.bridge.release.checkpoint_dir import read_checkpoint_dir
from megatron.bridge.release.layout import TRAIN_STATE_TRACKER
from megatron.bridge.release.repair.plan import Plan, plan_repair, plan_revert


IMPORT = "iter_0000000"
GETS_FILES = "release/ gets the files of iter_0000000/, as hard links"


def _plan_repair(release) -> Plan:
    return plan_repair(read_checkpoint_dir(release.root))


def _plan_revert(release) -> Plan:
    return plan_revert(read_checkpoint_dir(release.root))


def _refusal(release, plan=_plan_repair) -> str:
    """The one line with which a root is refused, less its path."""
    with pytest.raises(ValueError) as error:
        plan(release)
    assert "\n" not in str(error.value)
    return str(error.value).replace(f"{release.root}", "ROOT")


def _make_import(release) -> None:
    """Take from the release what upstream's import has not."""
    for name in ("common.pt", "megatron_lm_args.txt", "source.json", "integrity.json"):
        (release.folder / name).unlink()
    release.rename(IMPORT, "0")


def test_a_release_in_which_nothing_is_wrong_needs_nothing(release):
    plan = _plan_repair(release)
    assert (plan.source, plan.publish, plan.write, plan.retire, plan.steps) == ("release", False, [], [], [])
    assert plan.reads_common_state and not (plan.derive or plan.move_tokenizer or plan.drop_sums)


def test_an_import_gets_all_that_a_release_has(release):
    _make_import(release)
    plan = _plan_repair(release)
    assert (plan.source, plan.publish, plan.retire) == (IMPORT, True, [IMPORT])
    assert plan.write == ["common.pt", "megatron_lm_args.txt", "source.json", "integrity.json"]
    assert plan.derive and not plan.reads_common_state and plan.record.made_of == "org/name"
    assert plan.steps == [
        GETS_FILES,
        "write release/common.pt, with args from run_config.yaml",
        "write release/megatron_lm_args.txt",
        "write release/source.json: imported from org/name",
        "write release/integrity.json",
        "latest_checkpointed_iteration.txt: '0' becomes 'release'",
        "remove iter_0000000/: release/ has its files",
    ]


def test_a_release_under_an_imports_names_is_renamed_and_its_files_are_kept(release):
    release.rename(IMPORT, "0")
    plan = _plan_repair(release)
    assert plan.write == ["integrity.json"] and plan.reads_common_state and not plan.derive
    assert [step for step in plan.steps if step.startswith("write")] == ["write release/integrity.json"]


@pytest.mark.parametrize("name", ["common.pt", "megatron_lm_args.txt", "source.json", "integrity.json"])
@pytest.mark.parametrize("spoil", ["missing", "cut short", "longer"])
def test_one_file_that_a_repair_can_write_is_written_and_the_manifest_with_it(release, name, spoil):
    file = release.folder / name
    if spoil == "missing":
        file.unlink()
        if name != "integrity.json":
            release.seal()
    else:
        file.write_bytes(file.read_bytes()[:-1] if spoil == "cut short" else file.read_bytes() + b"x")
    plan = _plan_repair(release)
    assert set(plan.write) == {name, "integrity.json"} | ({"megatron_lm_args.txt"} if plan.derive else set())
    # Of an archive that goes on after its end, the args are read all the same.
    assert plan.derive == (name == "common.pt" and spoil != "longer") and plan.publish and plan.retire == []


def test_a_damaged_record_goes_and_a_missing_one_stays_where_the_run_config_names_no_model(release):
    (release.folder / "run_config.yaml").write_text("model: {}\n")
    (release.folder / "source.json").write_text("{")
    release.seal()
    plan = _plan_repair(release)
    assert plan.write == ["source.json", "integrity.json"] and plan.record is None
    assert plan.steps == ["write release/source.json", "write release/integrity.json"]
    (release.folder / "source.json").unlink()
    release.seal()
    assert _plan_repair(release).steps == []


def test_a_train_state_that_is_missing_is_written_with_its_tracker(release):
    (release.folder / "train_state.pt").unlink()
    (release.root / TRAIN_STATE_TRACKER).unlink()
    release.seal()
    plan = _plan_repair(release)
    assert plan.write == ["train_state.pt", "integrity.json"]
    assert plan.steps[-1] == "write latest_train_state.pt"


@pytest.mark.parametrize("spoil", [os.unlink, lambda path: path.write_bytes(b"torn")])
def test_bridges_tracker_is_written_where_it_is_missing_or_another_one(release, spoil):
    spoil(release.root / TRAIN_STATE_TRACKER)
    plan = _plan_repair(release)
    assert plan.publish and plan.write == [] and plan.steps == ["write latest_train_state.pt"]


@pytest.mark.parametrize("text", ["0", "relea", "", None])
def test_a_tracker_that_is_torn_or_absent_is_written(release, text):
    release.tracker.unlink() if text is None else release.tracker.write_text(text)
    assert _plan_repair(release).steps == [f"latest_checkpointed_iteration.txt: {text!r} becomes 'release'"]


def test_spaces_around_the_trackers_word_are_left(release):
    release.tracker.write_text(" release\n")
    assert _plan_repair(release).steps == []


def test_the_checksums_of_before_make_way_for_the_manifest_and_stay_beside_one(release):
    (release.folder / "SHA256SUMS").write_text("mine\n")
    assert _plan_repair(release).steps == []
    (release.folder / "integrity.json").unlink()
    plan = _plan_repair(release)
    assert plan.drop_sums and plan.steps == [
        "write release/integrity.json",
        "remove release/SHA256SUMS, whose place integrity.json takes",
    ]


def test_a_tokenizer_that_has_moved_gets_its_new_place_and_the_args_stay(release):
    release.write_args(tokenizer_model="/gone/release/tokenizer")
    release.seal()
    plan = _plan_repair(release)
    assert plan.move_tokenizer and not plan.derive and plan.write == ["common.pt", "integrity.json"]
    assert plan.steps[0] == "write release/common.pt, with the tokenizer's place"


@pytest.mark.parametrize("changes", [{"num_layers": 1}, {"num_layers": 3}, {"padded_vocab_size": 9}])
def test_args_that_are_not_the_tensors_are_derived(release, changes):
    release.write_args(**changes)
    release.seal()
    plan = _plan_repair(release)
    assert plan.derive and plan.reads_common_state
    assert plan.write == ["common.pt", "megatron_lm_args.txt", "integrity.json"]


def test_a_checkpoint_inside_a_folder_of_nothing_else_is_taken_out_of_it(release):
    release.folder.rename(release.root / "nested")
    (release.root / IMPORT).mkdir()
    (release.root / "nested").rename(release.root / IMPORT / "release")
    plan = _plan_repair(release)
    assert (plan.source, plan.retire) == (f"{IMPORT}/release", [IMPORT])
    (release.root / IMPORT / "notes.txt").touch()
    assert _refusal(release).startswith(f"ROOT/{IMPORT} holds notes.txt beside the checkpoint release. Move away ")


def test_a_link_to_the_checkpoint_becomes_a_folder(release):
    release.rename(IMPORT, "release")
    (release.root / "release").symlink_to(IMPORT)
    plan = _plan_repair(release)
    assert plan.source == "release" and plan.retire == [IMPORT] and plan.publish


def test_a_copy_of_second_names_is_the_same_checkpoint_and_a_copy_of_bytes_is_another(release):
    release.tracker.write_text("0")
    shutil.copytree(release.folder, release.root / IMPORT, copy_function=os.link)
    assert _plan_repair(release).retire == [IMPORT]
    (release.root / IMPORT / "notes.txt").touch()
    assert "contains more than one checkpoint: iter_0000000, release. Move away those" in _refusal(release)
    shutil.rmtree(release.root / IMPORT)
    shutil.copytree(release.folder, release.root / IMPORT)
    assert "contains more than one checkpoint: iter_0000000, release. Move away those" in _refusal(release)


def test_beside_a_release_that_the_tracker_names_another_import_is_left_alone(release):
    shutil.copytree(release.folder, release.root / IMPORT)
    plan = _plan_repair(release)
    assert (plan.source, plan.retire, plan.steps) == ("release", [], [])


def _a_training_folder(release) -> None:
    (release.root / "iter_0000001").mkdir()


def _a_trained_tracker(release) -> None:
    release.tracker.write_text("1")


def _an_iteration(release) -> None:
    release.write_state("common.pt", {"iteration": 1})
    release.seal()


def _a_step(release) -> None:
    release.write_step(1)
    release.seal()


def _optimizer_state(release) -> None:
    release.write_tensors({"optimizer.state.exp_avg": (4,)})
    release.seal()


TRAINED = {
    _a_training_folder: "ROOT contains checkpoints of a training (iter_0000001), not only an import.",
    _a_trained_tracker: "The tracker of ROOT says 1: training has gone on in it, and its checkpoint is not there. "
    "Restore that, or write 'release' into latest_checkpointed_iteration.txt, then repair again.",
    _an_iteration: "ROOT/release is a checkpoint of a training: it is at iteration 1.",
    _a_step: "ROOT/release is a checkpoint of a training: it is at iteration 1.",
    _optimizer_state: "ROOT/release is a checkpoint of a training: it contains optimizer state.",
}


@pytest.mark.parametrize("spoil", TRAINED, ids=lambda spoil: spoil.__name__)
@pytest.mark.parametrize("plan", [_plan_repair, _plan_revert])
def test_a_training_is_refused_by_both(release, spoil, plan):
    spoil(release)
    assert _refusal(release, plan) == TRAINED[spoil]


def test_an_optimizer_in_a_longer_name_is_no_optimizer_state(release, shapes):
    release.write_tensors(shapes | {"decoder.optimizers": (4,)})
    release.seal()
    assert _plan_repair(release).steps == []


def test_a_common_state_among_the_tensors_tells_a_training_too(release, shapes, args):
    release.write_tensors(shapes, {"iteration": 5, "args": Namespace(**args)})
    (release.folder / "common.pt").unlink()
    release.seal()
    assert _refusal(release).endswith("is a checkpoint of a training: it is at iteration 5.")


@pytest.mark.parametrize("name", ["__0_0.distcp", ".metadata", "metadata.json"])
@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"x"])
@pytest.mark.parametrize("plan", [_plan_repair, _plan_revert])
def test_a_damaged_file_that_nothing_can_write_is_refused_by_both(release, name, change, plan):
    file = release.folder / name
    file.write_bytes(change(file.read_bytes()))
    refusal = _refusal(release, plan)
    assert refusal.startswith(f"ROOT/release/{name} ")
    assert refusal.endswith(". Restore it from a copy, or import the model again.")


def test_a_folder_of_no_checkpoint_is_refused_unless_it_is_empty(release):
    (release.root / IMPORT).mkdir()
    assert _plan_repair(release).steps == []
    (release.root / IMPORT / "file").touch()
    assert (
        _refusal(release)
        == "ROOT/iter_0000000 contains no checkpoint, but files. Move it away, and run the repair again."
    )


def test_a_root_of_nothing_is_refused_with_what_is_left_in_it(release):
    shutil.rmtree(release.folder)
    assert _refusal(release) == "ROOT contains no checkpoint. Import the model again, or give another folder."
    (release.root / ".release-staging-x").mkdir()
    assert _refusal(release).startswith(
        "ROOT contains no checkpoint, but what a dead process left (.release-staging-x). "
    )


def test_a_revert_takes_the_release_and_the_trackers(release):
    plan = _plan_revert(release)
    assert (plan.source, plan.publish, plan.retire, plan.write) == ("release", True, ["release"], [])
    assert plan.steps == [
        "iter_0000000/ gets the files of release/, as hard links, less what a release adds",
        "latest_checkpointed_iteration.txt: 'release' becomes '0'",
        "remove release/: iter_0000000/ has its files",
    ]


def test_a_revert_leaves_an_import_as_it_is(release):
    release.rename(IMPORT, "0")
    assert _plan_revert(release) == Plan(IMPORT)
    release.tracker.write_text("release")
    assert _refusal(release, _plan_revert) == "ROOT contains no release to revert. Checkpoints there: iter_0000000."


def test_a_revert_that_died_after_it_published_only_removes_the_release(release):
    shutil.copytree(release.folder, release.root / IMPORT, copy_function=os.link)
    release.tracker.write_text("0")
    plan = _plan_revert(release)
    assert not plan.publish and plan.steps == ["remove release/: iter_0000000/ has its files"]
    (release.folder / "notes.txt").touch()
    refusal = "ROOT/release holds files that iter_0000000 has not. Move one of them away."
    assert _refusal(release, _plan_revert) == refusal


def test_a_revert_refuses_another_checkpoint_beside_the_release_and_a_lost_tracker(release):
    release.tracker.unlink()
    refusal = "ROOT has no latest_checkpointed_iteration.txt. Repair it first."
    assert _refusal(release, _plan_revert) == refusal
    shutil.copytree(release.folder, release.root / IMPORT)
    refusal = "ROOT contains another checkpoint next to the release: iter_0000000. Move it away first."
    assert _refusal(release, _plan_revert) == refusal
