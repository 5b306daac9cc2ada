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

"""What of a repair and a revert needs no Megatron: their steps, their refusals, and what a revert removes."""

import fcntl
import shutil

import pytest

from megatron.bridge.release.checkpoint_dir import read_checkpoint_dir
from megatron.bridge.release.layout import TRACKER, TRAIN_STATE_TRACKER
from megatron.bridge.release.repair.plan import Plan
from megatron.bridge.release.repair.run import _stamps, _strip, _write_trackers, repair, revert


def test_a_release_in_which_nothing_is_wrong_is_left_as_it_is(release):
    before = release.files()
    assert repair(release.root) == repair(release.root, dry_run=True) == []
    assert release.files() == before


def test_an_import_that_is_reverted_is_left_as_it_is(release):
    release.rename("iter_0000000", "0")
    before = release.files()
    assert revert(release.root) == revert(release.root, dry_run=True) == []
    assert release.files() == before


def test_a_dry_run_tells_the_steps_and_changes_nothing(release):
    release.tracker.write_text("relea")
    steps = ["latest_checkpointed_iteration.txt: 'relea' becomes 'release'"]
    assert repair(release.root, dry_run=True) == steps
    (release.root / ".release-staging-x").mkdir()
    (release.root / ".release-lock").touch()
    before = release.files()
    assert repair(release.root, dry_run=True) == [
        *steps,
        "remove .release-lock, which a dead process left",
        "remove .release-staging-x, which a dead process left",
    ]
    release.tracker.write_text("release")
    before[release.tracker.name] = b"release"
    assert revert(release.root, dry_run=True)[:2] == [
        "iter_0000000/ gets the files of release/, as hard links, less what a release adds",
        "latest_checkpointed_iteration.txt: 'release' becomes '0'",
    ]
    assert release.files() == before and (release.root / ".release-staging-x").is_dir()


@pytest.mark.parametrize("action", [repair, revert])
def test_a_release_that_an_overwrite_put_aside_is_first_of_all_taken_back(release, action):
    (release.root / ".release-replaced-x").mkdir()
    release.folder.rename(release.root / ".release-replaced-x/release")
    (release.root / ".release-staging-x").mkdir()
    assert action(release.root, dry_run=True) == [
        "take release/ back from .release-replaced-x/, where an overwrite that was cut short left it",
        "remove .release-staging-x, which a dead process left",
    ]


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("action", [repair, revert])
def test_a_root_with_a_writer_is_refused(release, action, dry_run):
    lock = release.root / ".release-lock"
    lock.write_text("process 5 on here")
    with open(lock) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(RuntimeError) as error:
            action(release.root, dry_run=dry_run)
    assert str(error.value) == (
        f"Another process is writing into {release.root} (process 5 on here). Wait for it to end, or give another "
        "folder."
    )


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("action", [repair, revert])
def test_what_cannot_be_planned_is_refused_and_nothing_changes(release, action, dry_run):
    shutil.copytree(release.folder, release.root / "iter_0000005")
    before = release.files()
    with pytest.raises(
        ValueError, match=r"contains checkpoints of a training \(iter_0000005\), not only an import\.$"
    ):
        action(release.root, dry_run=dry_run)
    assert release.files() == before


def test_a_revert_removes_what_a_release_adds(release, shapes):
    release.write_tensors(shapes, {"iteration": 0})
    (release.folder / "SHA256SUMS").touch()
    before = {path.name for path in release.folder.iterdir()}
    _strip(release.root, release.folder, Plan("release"))
    assert before - {path.name for path in release.folder.iterdir()} == {
        *("common.pt", "megatron_lm_args.txt", "source.json", "integrity.json", "SHA256SUMS")
    }


def test_a_revert_keeps_the_common_state_that_stands_nowhere_else(release):
    _strip(release.root, release.folder, Plan("release"))
    assert (release.folder / "common.pt").is_file()


def test_the_trackers_are_the_text_and_the_folders_train_state(release, tmp_path):
    _write_trackers(tmp_path, release.folder, "0")
    assert (tmp_path / TRACKER).read_text() == "0"
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
def test_a_file_that_changes_is_seen_without_reading_it(release, name, change):
    before = _stamps(read_checkpoint_dir(release.root))
    assert _stamps(read_checkpoint_dir(release.root)) == before
    change(release.root / name)
    assert _stamps(read_checkpoint_dir(release.root)) != before


def test_a_file_more_is_seen_in_a_checkpoint_and_not_beside_it(release):
    before = _stamps(read_checkpoint_dir(release.root))
    (release.root / "notes.txt").touch()
    assert _stamps(read_checkpoint_dir(release.root)) == before
    (release.folder / "notes.txt").touch()
    assert _stamps(read_checkpoint_dir(release.root)) != before
