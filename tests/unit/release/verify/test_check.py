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

"""Which checkpoint of a directory `check` examines, by the tracker and the names of the checkpoints."""

import fcntl
import shutil

import pytest

from megatron.bridge.release.checkpoint_dir import read_checkpoint_dir
from megatron.bridge.release.layout import TRACKER
from megatron.bridge.release.verify.check import check, check_folder
from megatron.bridge.release.verify.findings import (
    ActiveWriter,
    FailedStep,
    InterruptedOverwrite,
    InvalidTracker,
    IterationZero,
    Leftovers,
    MissingCheckpoint,
    MissingTracker,
    NestedCheckpoint,
    NotACheckpoint,
)
from megatron.bridge.release.verify.report import BRIDGE, MEGATRON_LM, OLDER_MEGATRON_LM, UPSTREAM


def _loads(report) -> list[str]:
    return [reader.name for reader in report.readers if reader.reason is None]


def _problem(report, kind):
    (problem,) = report.problems
    assert type(problem) is kind
    return problem


def _note(report, kind):
    (note,) = report.notes
    assert type(note) is kind
    return note


def test_complete_release_has_no_findings(release):
    report = check(release.root)
    assert (report.problems, report.notes, report.unrepairable) == ([], [], [])
    assert (report.root, report.layout, report.folder) == (release.root, "release", "release")
    assert (report.tracker, report.source_model, report.args_problem) == ("release", "org/name", None)
    assert _loads(report) == [MEGATRON_LM, OLDER_MEGATRON_LM, BRIDGE]


def test_tracker_may_have_whitespace(release):
    release.tracker.write_text(" release \n")
    report = check(release.root)
    assert report.passed
    assert report.tracker == " release \n"


def test_last_checkpoint_is_examined_without_a_tracker(release):
    release.tracker.unlink()
    report = check(release.root)
    problem = _problem(report, MissingTracker)
    assert (problem.root, problem.checkpoints) == (release.root, ("release",))
    assert (report.tracker, report.folder) == (None, "release")
    assert _loads(report) == []


def test_empty_directory_has_no_tracker(tmp_path):
    report = check(tmp_path)
    assert _problem(report, MissingTracker).checkpoints == ()
    assert (report.folder, report.layout, report.files) == (None, None, {})


@pytest.mark.parametrize("text", ["", "-1", "rel ease", "relea"])
def test_single_checkpoint_is_examined_despite_invalid_tracker(release, text):
    release.tracker.write_text(text)
    report = check(release.root)
    problem = _problem(report, InvalidTracker)
    assert repr(text) in str(problem.error)
    assert (problem.repair, problem.checkpoints) == (release.root, ("release",))
    assert report.folder == "release"
    assert _loads(report) == []


def test_invalid_tracker_chooses_none_of_two_checkpoints(release):
    shutil.copytree(release.folder, release.root / "iter_0000005")
    release.tracker.write_text("relea")
    assert check(release.root).folder is None


@pytest.mark.parametrize(("tracker", "name"), [("1", "iter_0000001"), ("12345678", "iter_12345678")])
def test_tracker_of_a_missing_checkpoint_is_a_problem(release, tracker, name):
    release.tracker.write_text(tracker)
    report = check(release.root)
    problem = _problem(report, MissingCheckpoint)
    assert (problem.root, problem.name, problem.checkpoints) == (release.root, name, ("release",))
    assert report.folder is None


def test_tracker_without_any_checkpoint_is_a_problem(tmp_path):
    (tmp_path / TRACKER).write_text("release")
    assert _problem(check(tmp_path), MissingCheckpoint).checkpoints == ()


def test_tracked_directory_without_checkpoint_is_examined(release):
    (release.root / "iter_0000007").mkdir()
    release.tracker.write_text("7")
    report = check(release.root)
    assert report.folder == "iter_0000007"
    assert _problem(report, NotACheckpoint).folder == release.root / "iter_0000007"
    assert report.unrepairable == report.problems


def test_tracker_chooses_between_two_checkpoints(release):
    shutil.copytree(release.folder, release.root / "iter_0000005")
    assert check(release.root).folder == "release"
    release.tracker.write_text("5")
    report = check(release.root)
    assert (report.folder, report.layout) == ("iter_0000005", "training")
    assert report.passed


def test_import_without_a_release_is_for_bridge_only(release):
    release.rename("iter_0000000", "0")
    report = check(release.root)
    assert report.layout == "import"
    assert _loads(report) == [BRIDGE, UPSTREAM]
    assert _problem(report, IterationZero).root == release.root
    assert report.launch == []


def test_nested_checkpoint_is_a_problem(release):
    shutil.copytree(release.folder, release.folder / "iter_0000001")
    problem = check(release.root).problems[0]
    assert type(problem) is NestedCheckpoint
    assert (problem.root, problem.name) == (release.root, "release/iter_0000001")


def test_interrupted_overwrite_is_a_problem(release):
    (release.root / ".release-replaced-x").mkdir()
    release.folder.rename(release.root / ".release-replaced-x/release")
    problem = _problem(check(release.root), InterruptedOverwrite)
    assert (problem.root, problem.backup) == (release.root, ".release-replaced-x")


def test_leftovers_are_a_note(release):
    (release.root / ".release-staging-x").mkdir()
    report = check(release.root)
    assert report.passed
    assert _note(report, Leftovers).names == (".release-staging-x",)


def test_active_writer_is_a_note_and_hides_leftovers(release):
    lock = release.root / ".release-lock"
    lock.write_text("process 5 on here")
    with open(lock) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert _note(check(release.root), ActiveWriter).writer == "process 5 on here"
    assert _note(check(release.root), Leftovers).names == (".release-lock",)


def test_unreadable_directory_is_a_problem_and_no_error(tmp_path):
    problem = _problem(check(tmp_path / "gone"), FailedStep)
    assert str(problem).startswith(f"{tmp_path / 'gone'} does not exist. ")


def test_named_checkpoint_is_examined_with_any_tracker(release):
    release.tracker.write_text("5")
    report = check_folder(read_checkpoint_dir(release.root), "release")
    assert (report.tracker, report.folder, report.layout, report.problems) == ("5", "release", "release", [])
    (release.folder / "common.pt").write_bytes(b"")
    assert check_folder(read_checkpoint_dir(release.root), "release").files["common.pt"].status == "corrupt"
