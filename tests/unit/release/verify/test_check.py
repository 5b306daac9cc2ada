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

"""What a check of a root looks at, by its tracker and its folders."""

import fcntl
import shutil

import pytest

from megatron.bridge.release.checkpoint_dir import read_checkpoint_dir
from megatron.bridge.release.layout import TRACKER
from megatron.bridge.release.verify.check import check, check_folder
from megatron.bridge.release.verify.report import BRIDGE, MEGATRON_LM, OLDER_MEGATRON_LM, UPSTREAM


def _loads(report) -> list[str]:
    return [reader.name for reader in report.readers if reader.loads]


def _repair(root) -> str:
    return f"python -m megatron.bridge.release repair {root}"


def test_a_release_in_which_nothing_is_wrong(release):
    report = check(release.root)
    assert (report.problems, report.notes, report.beyond_repair) == ([], [], [])
    assert (report.root, report.layout, report.folder) == (str(release.root), "release", "release")
    assert (report.tracker, report.made_of, report.args_problem) == ("release", "org/name", None)
    assert _loads(report) == [MEGATRON_LM, OLDER_MEGATRON_LM, BRIDGE]


def test_spaces_around_the_trackers_word_are_no_problem(release):
    release.tracker.write_text(" release \n")
    report = check(release.root)
    assert report.passed and report.tracker == " release \n"


def test_no_tracker_is_a_problem_and_the_last_checkpoint_is_looked_at(release):
    release.tracker.unlink()
    (problem,) = (report := check(release.root)).problems
    assert problem == (
        f"{release.root} has no latest_checkpointed_iteration.txt: Megatron-LM treats it as empty. "
        f"Checkpoints there: release. {_repair(release.root)}"
    )
    assert report.tracker is None and report.folder == "release" and _loads(report) == []


def test_a_root_without_anything_says_to_import(tmp_path):
    (problem,) = (report := check(tmp_path)).problems
    assert problem.endswith("Checkpoints there: none. Import the model again, or give another folder.")
    assert report.folder is None and report.layout is None and report.files == []


@pytest.mark.parametrize("text", ["", "-1", "rel ease", "relea"])
def test_a_torn_tracker_is_shown_and_the_only_checkpoint_is_looked_at(release, text):
    release.tracker.write_text(text)
    (problem,) = (report := check(release.root)).problems
    assert f"contains {text!r}, neither 'release' nor an iteration number." in problem
    assert problem.endswith(f"Checkpoints there: release. Or: {_repair(release.root)}")
    assert report.folder == "release" and _loads(report) == []


def test_of_two_checkpoints_a_torn_tracker_chooses_none(release):
    shutil.copytree(release.folder, release.root / "iter_0000005")
    release.tracker.write_text("relea")
    assert check(release.root).folder is None


@pytest.mark.parametrize(("tracker", "name"), [("1", "iter_0000001"), ("12345678", "iter_12345678")])
def test_a_tracker_that_names_no_folder_is_a_problem(release, tracker, name):
    release.tracker.write_text(tracker)
    (problem,) = (report := check(release.root)).problems
    assert problem == (
        f"The tracker of {release.root} names the checkpoint {name}, which is not there. Checkpoints there: release. "
        + _repair(release.root)
    )
    assert report.folder is None


def test_a_tracker_that_names_no_folder_where_there_is_none_says_to_restore_it(tmp_path):
    (tmp_path / TRACKER).write_text("release")
    (problem,) = check(tmp_path).problems
    assert problem.endswith("Checkpoints there: none. Restore the folder, or import the model again.")


def test_a_folder_without_a_checkpoint_is_looked_at_where_the_tracker_names_it(release):
    (release.root / "iter_0000007").mkdir()
    release.tracker.write_text("7")
    report = check(release.root)
    assert report.folder == "iter_0000007"
    assert (
        report.problems
        == report.beyond_repair
        == [f"{release.root}/iter_0000007 contains no checkpoint in the format torch_dist. Import the model again."]
    )


def test_the_tracker_decides_which_of_two_checkpoints_is_looked_at(release):
    shutil.copytree(release.folder, release.root / "iter_0000005")
    assert check(release.root).folder == "release"
    release.tracker.write_text("5")
    report = check(release.root)
    assert (report.folder, report.layout) == ("iter_0000005", "training") and report.passed


def test_an_import_of_upstreams_is_for_bridge_alone(release):
    release.rename("iter_0000000", "0")
    report = check(release.root)
    assert report.layout == "import" and _loads(report) == [BRIDGE, UPSTREAM]
    assert report.problems == [
        f"The tracker of {release.root} says '0', iteration 0, which Megatron-LM before core 0.16 refuses, "
        "and later ones without --finetune. " + _repair(release.root)
    ]
    assert report.launch == []


def test_a_checkpoint_inside_anothers_folder_is_a_problem(release):
    shutil.copytree(release.folder, release.folder / "iter_0000001")
    problem = check(release.root).problems[0]
    assert problem == (
        f"{release.root} contains a checkpoint inside another checkpoint: release/iter_0000001. {_repair(release.root)}"
    )


def test_a_release_that_an_overwrite_put_aside_is_a_problem_that_repair_fixes(release):
    (release.root / ".release-replaced-x").mkdir()
    release.folder.rename(release.root / ".release-replaced-x/release")
    (problem,) = check(release.root).problems
    assert problem == (
        f"{release.root} has its release in .release-replaced-x/, where an overwrite that was cut short has left it. "
        + _repair(release.root)
    )


def test_what_a_dead_import_left_is_a_note(release):
    (release.root / ".release-staging-x").mkdir()
    report = check(release.root)
    assert report.passed
    assert report.notes == ["An import died, and left .release-staging-x. The next import or repair clears it."]


def test_an_import_at_work_is_a_note_and_none_that_died(release):
    lock = release.root / ".release-lock"
    lock.write_text("process 5 on here")
    with open(lock) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert check(release.root).notes == [
            "An import is writing into it now (process 5 on here): this report may be out of date soon."
        ]
    notes = ["An import died, and left .release-lock. The next import or repair clears it."]
    assert check(release.root).notes == notes


def test_what_is_no_root_is_a_problem_and_no_error(tmp_path):
    (problem,) = check(tmp_path / "gone").problems
    assert problem.startswith(f"{tmp_path / 'gone'} does not exist. ")


def test_a_folder_is_checked_whatever_the_tracker_says(release):
    release.tracker.write_text("5")
    report = check_folder(read_checkpoint_dir(release.root), "release")
    assert (report.tracker, report.folder, report.layout, report.problems) == ("5", "release", "release", [])
    (release.folder / "common.pt").write_bytes(b"")
    assert f"{release.folder}/common.pt " in check_folder(read_checkpoint_dir(release.root), "release").problems[0]
