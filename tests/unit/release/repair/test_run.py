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

"""The steps and refusals of a repair that need no Megatron."""

import fcntl
import shutil

import pytest

from megatron.bridge.release.checkpoint_dir import read_checkpoint_dir
from megatron.bridge.release.errors import CheckpointDirBusyError
from megatron.bridge.release.layout import TRACKER, TRAIN_STATE_TRACKER
from megatron.bridge.release.repair.errors import TrainingError
from megatron.bridge.release.repair.run import _stamps, _write_trackers, repair


def test_complete_release_is_not_changed(release):
    before = release.files()
    assert repair(release.root) == repair(release.root, dry_run=True) == []
    assert release.files() == before


def test_dry_run_returns_steps_and_changes_nothing(release):
    release.tracker.write_text("relea")
    steps = ["set latest_checkpointed_iteration.txt to 'release' (was 'relea')"]
    assert repair(release.root, dry_run=True) == steps
    (release.root / ".release-staging-x").mkdir()
    (release.root / ".release-lock").touch()
    before = release.files()
    assert repair(release.root, dry_run=True) == [
        *steps,
        "remove .release-lock (left by an interrupted run)",
        "remove .release-staging-x (left by an interrupted run)",
    ]
    assert release.files() == before and (release.root / ".release-staging-x").is_dir()


def test_release_of_an_interrupted_overwrite_is_restored_first(release):
    (release.root / ".release-replaced-x").mkdir()
    release.folder.rename(release.root / ".release-replaced-x/release")
    (release.root / ".release-staging-x").mkdir()
    assert repair(release.root, dry_run=True) == [
        "restore release/ from .release-replaced-x/ (interrupted --overwrite)",
        "remove .release-staging-x (left by an interrupted run)",
    ]


@pytest.mark.parametrize("dry_run", [True, False])
def test_directory_with_an_active_writer_is_refused(release, dry_run):
    lock = release.root / ".release-lock"
    lock.write_text("process 5 on here")
    with open(lock) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(CheckpointDirBusyError) as raised:
            repair(release.root, dry_run=dry_run)
    assert (raised.value.root, raised.value.lock_owner) == (release.root, "process 5 on here")


@pytest.mark.parametrize("dry_run", [True, False])
def test_refused_directory_is_not_changed(release, dry_run):
    shutil.copytree(release.folder, release.root / "iter_0000005")
    before = release.files()
    with pytest.raises(TrainingError) as raised:
        repair(release.root, dry_run=dry_run)
    assert raised.value.checkpoints == ("iter_0000005",)
    assert release.files() == before


def test_trackers_are_written_for_the_release(release, tmp_path):
    _write_trackers(tmp_path, release.folder)
    assert (tmp_path / TRACKER).read_text() == "release"
    state = (release.folder / "train_state.pt").read_bytes()
    assert (tmp_path / TRAIN_STATE_TRACKER).read_bytes() == state


def _written(path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def _replaced(path) -> None:
    # The bytes and the time may be the same; the file is another one.
    shutil.copy2(path, path.with_name("copy"))
    path.with_name("copy").rename(path)


def _removed(path) -> None:
    path.unlink()


@pytest.mark.parametrize("change", [_written, _replaced, _removed])
@pytest.mark.parametrize("name", ["release/__0_0.distcp", "release/tokenizer/tokenizer.json", TRAIN_STATE_TRACKER])
def test_stamps_show_a_changed_file(release, name, change):
    before = _stamps(read_checkpoint_dir(release.root))
    assert _stamps(read_checkpoint_dir(release.root)) == before
    change(release.root / name)
    assert _stamps(read_checkpoint_dir(release.root)) != before


def test_stamps_show_a_new_file_of_a_checkpoint(release):
    before = _stamps(read_checkpoint_dir(release.root))
    (release.root / "notes.txt").touch()
    assert _stamps(read_checkpoint_dir(release.root)) == before
    (release.folder / "notes.txt").touch()
    assert _stamps(read_checkpoint_dir(release.root)) != before
