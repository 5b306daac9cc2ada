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

"""The plan of a repair, and the checkpoint directories that a repair refuses."""

import os
import shutil
from argparse import Namespace

import pytest

from megatron.bridge.release.checkpoint_dir import read_checkpoint_dir
from megatron.bridge.release.layout import TRAIN_STATE_TRACKER
from megatron.bridge.release.repair.errors import (
    LostTrainingError,
    NothingToRepairError,
    OtherFilesError,
    SeveralCheckpointsError,
    TrainedCheckpointError,
    TrainingError,
)
from megatron.bridge.release.repair.plan import RepairPlan, plan_repair
from megatron.bridge.release.verify.errors import DamagedCheckpointError


IMPORT = "iter_0000000"
HARD_LINKS = "hard-link the files of iter_0000000/ into release/"


def _plan_repair(release) -> RepairPlan:
    return plan_repair(read_checkpoint_dir(release.root))


def _refusal(release, kind):
    with pytest.raises(kind) as raised:
        _plan_repair(release)
    return raised.value


def _make_import(release) -> None:
    """Take from the release what upstream's import has not."""
    for name in ("common.pt", "megatron_lm_args.txt", "source.json", "integrity.json"):
        (release.folder / name).unlink()
    release.rename(IMPORT, "0")


def test_complete_release_needs_no_steps(release):
    plan = _plan_repair(release)
    assert (plan.source, plan.publish, plan.write, plan.retire, plan.steps) == ("release", False, [], [], [])
    assert plan.reads_common_state and not (plan.derive_args or plan.move_tokenizer)


def test_import_gets_all_files_of_a_release(release):
    _make_import(release)
    plan = _plan_repair(release)
    assert (plan.source, plan.publish, plan.retire) == (IMPORT, True, [IMPORT])
    assert plan.write == ["common.pt", "megatron_lm_args.txt", "source.json", "integrity.json"]
    assert plan.derive_args and not plan.reads_common_state and plan.source_model.model == "org/name"
    assert plan.steps == [
        HARD_LINKS,
        "write release/common.pt (args from run_config.yaml)",
        "write release/megatron_lm_args.txt",
        "write release/source.json: imported from org/name",
        "write release/integrity.json",
        "set latest_checkpointed_iteration.txt to 'release' (was '0')",
        "remove iter_0000000/ (release/ has its files)",
    ]


def test_plan_writes_only_manifest_for_renamed_release(release):
    release.rename(IMPORT, "0")
    plan = _plan_repair(release)
    assert plan.write == ["integrity.json"] and plan.reads_common_state and not plan.derive_args
    assert [step for step in plan.steps if step.startswith("write")] == ["write release/integrity.json"]


@pytest.mark.parametrize("name", ["common.pt", "megatron_lm_args.txt", "source.json", "integrity.json"])
@pytest.mark.parametrize("spoil", ["missing", "cut short", "longer"])
def test_damaged_file_is_written_with_the_manifest(release, name, spoil):
    file = release.folder / name
    if spoil == "missing":
        file.unlink()
        if name != "integrity.json":
            release.seal()
    else:
        file.write_bytes(file.read_bytes()[:-1] if spoil == "cut short" else file.read_bytes() + b"x")
    plan = _plan_repair(release)
    assert set(plan.write) == {name, "integrity.json"} | ({"megatron_lm_args.txt"} if plan.derive_args else set())
    # Of an archive that goes on after its end, the args are read all the same.
    assert plan.derive_args == (name == "common.pt" and spoil != "longer") and plan.publish and plan.retire == []


def test_corrupt_source_record_is_removed_without_a_model(release):
    (release.folder / "run_config.yaml").write_text("model: {}\n")
    (release.folder / "source.json").write_text("{")
    release.seal()
    plan = _plan_repair(release)
    assert plan.write == ["source.json", "integrity.json"] and plan.source_model is None
    assert plan.steps == ["write release/source.json", "write release/integrity.json"]
    (release.folder / "source.json").unlink()
    release.seal()
    assert _plan_repair(release).steps == []


def test_plan_writes_missing_train_state_and_tracker(release):
    (release.folder / "train_state.pt").unlink()
    (release.root / TRAIN_STATE_TRACKER).unlink()
    release.seal()
    plan = _plan_repair(release)
    assert plan.write == ["train_state.pt", "integrity.json"]
    assert plan.steps[-1] == "write latest_train_state.pt"


@pytest.mark.parametrize("spoil", [os.unlink, lambda path: path.write_bytes(b"torn")])
def test_wrong_train_state_tracker_is_written(release, spoil):
    spoil(release.root / TRAIN_STATE_TRACKER)
    plan = _plan_repair(release)
    assert plan.publish and plan.write == [] and plan.steps == ["write latest_train_state.pt"]


@pytest.mark.parametrize("text", ["0", "relea", "", None])
def test_invalid_or_missing_tracker_is_written(release, text):
    release.tracker.unlink() if text is None else release.tracker.write_text(text)
    before = "missing" if text is None else f"was {text!r}"
    assert _plan_repair(release).steps == [f"set latest_checkpointed_iteration.txt to 'release' ({before})"]


def test_whitespace_in_the_tracker_is_kept(release):
    release.tracker.write_text(" release\n")
    assert _plan_repair(release).steps == []


def test_plan_updates_path_of_moved_tokenizer(release):
    release.write_args(tokenizer_model="/gone/release/tokenizer")
    release.seal()
    plan = _plan_repair(release)
    assert plan.move_tokenizer and not plan.derive_args and plan.write == ["common.pt", "integrity.json"]
    assert plan.steps[0] == "write release/common.pt (new path of the tokenizer)"


@pytest.mark.parametrize("changes", [{"num_layers": 1}, {"num_layers": 3}, {"padded_vocab_size": 9}])
def test_args_that_mismatch_the_tensors_are_derived(release, changes):
    release.write_args(**changes)
    release.seal()
    plan = _plan_repair(release)
    assert plan.derive_args and plan.reads_common_state
    assert plan.write == ["common.pt", "megatron_lm_args.txt", "integrity.json"]


def test_nested_checkpoint_is_moved_out(release):
    release.folder.rename(release.root / "nested")
    (release.root / IMPORT).mkdir()
    (release.root / "nested").rename(release.root / IMPORT / "release")
    plan = _plan_repair(release)
    assert (plan.source, plan.retire) == (f"{IMPORT}/release", [IMPORT])
    (release.root / IMPORT / "notes.txt").touch()
    error = _refusal(release, OtherFilesError)
    assert (error.folder, error.names) == (release.root / IMPORT, ("notes.txt",))


def test_symlink_to_the_checkpoint_becomes_a_directory(release):
    release.rename(IMPORT, "release")
    (release.root / "release").symlink_to(IMPORT)
    plan = _plan_repair(release)
    assert plan.source == "release" and plan.retire == [IMPORT] and plan.publish


def test_hard_linked_copy_is_the_same_checkpoint(release):
    release.tracker.write_text("0")
    shutil.copytree(release.folder, release.root / IMPORT, copy_function=os.link)
    assert _plan_repair(release).retire == [IMPORT]
    (release.root / IMPORT / "notes.txt").touch()
    assert _refusal(release, SeveralCheckpointsError).checkpoints == ("iter_0000000", "release")
    shutil.rmtree(release.root / IMPORT)
    shutil.copytree(release.folder, release.root / IMPORT)
    assert _refusal(release, SeveralCheckpointsError).checkpoints == ("iter_0000000", "release")


def test_plan_keeps_import_next_to_tracked_release(release):
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


@pytest.mark.parametrize(
    ("spoil", "kind", "fact"),
    [
        (_a_training_folder, TrainingError, {"checkpoints": ("iter_0000001",)}),
        (_a_trained_tracker, LostTrainingError, {"iteration": 1}),
        (_an_iteration, TrainedCheckpointError, {"iteration": 1}),
        (_a_step, TrainedCheckpointError, {"iteration": 1}),
        (_optimizer_state, TrainedCheckpointError, {"iteration": None}),
    ],
)
def test_training_is_refused(release, spoil, kind, fact):
    spoil(release)
    assert vars(_refusal(release, kind)).items() >= fact.items()


def test_optimizers_in_a_name_is_no_optimizer_state(release, shapes):
    release.write_tensors(shapes | {"decoder.optimizers": (4,)})
    release.seal()
    assert _plan_repair(release).steps == []


def test_embedded_common_state_of_a_training_is_refused(release, shapes, args):
    release.write_tensors(shapes, {"iteration": 5, "args": Namespace(**args)})
    (release.folder / "common.pt").unlink()
    release.seal()
    assert _refusal(release, TrainedCheckpointError).iteration == 5


@pytest.mark.parametrize("name", ["__0_0.distcp", ".metadata", "metadata.json"])
@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"x"])
def test_damaged_file_that_a_repair_does_not_write_is_refused(release, name, change):
    file = release.folder / name
    file.write_bytes(change(file.read_bytes()))
    finding = _refusal(release, DamagedCheckpointError).finding
    assert (finding.file, finding.repair) == (file, None)


def test_directory_without_checkpoint_is_refused_unless_empty(release):
    (release.root / IMPORT).mkdir()
    assert _plan_repair(release).steps == []
    (release.root / IMPORT / "file").touch()
    error = _refusal(release, OtherFilesError)
    assert (error.folder, error.names) == (release.root / IMPORT, ())


def test_nothing_to_repair_error_lists_leftovers(release):
    shutil.rmtree(release.folder)
    assert _refusal(release, NothingToRepairError).leftovers == ()
    (release.root / ".release-staging-x").mkdir()
    assert _refusal(release, NothingToRepairError).leftovers == (".release-staging-x",)
