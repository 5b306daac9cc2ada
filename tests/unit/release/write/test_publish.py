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

"""Whatever stops a publication, a reader finds the old checkpoint or the new one, and the next run clears up.

Real processes that are killed, and a disk that loses what was not synced, at every operation that publishing makes.
"""

import errno
import fcntl
import os
import shutil
import stat
import subprocess
import threading
from pathlib import Path

import pytest
from faults import SEED, LosingPower, Stepping, killed_at, run_forked

from megatron.bridge.release.checkpoint_dir import find_lock_owner
from megatron.bridge.release.errors import CheckpointDirBusyError
from megatron.bridge.release.layout import METADATA, TRACKER, TRAIN_STATE_TRACKER
from megatron.bridge.release.validation.errors import CheckpointExistsError
from megatron.bridge.release.validation.output_dir import check_overwrite, is_interrupted
from megatron.bridge.release.write import filesystem
from megatron.bridge.release.write import publish as publishing
from megatron.bridge.release.write.errors import HardLinkError, LockFileError, MountPointError, OverlayError
from megatron.bridge.release.write.filesystem import Filesystem, mounts
from megatron.bridge.release.write.publish import Publication


FILES = (".metadata", "__0_0.distcp", "tokenizer/tokenizer.json")
FOREIGN = ("notes.txt", "iter_0000005/kept", ".release-notes")


def _write(staging: Path, content: str) -> None:
    for name in FILES:
        file = staging / "release" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    (staging / TRACKER).write_text("release")
    (staging / TRAIN_STATE_TRACKER).write_text("step 0")


def _publish(root: Path, content: str, filesystem: Filesystem | None = None, overwrite: bool = False) -> None:
    """What `publish_on_exit` does, with three small files for a checkpoint."""
    publication = Publication(root, filesystem=filesystem or Filesystem())
    staging = publication.begin(lambda: check_overwrite(root, overwrite))
    try:
        _write(staging, content)
        publication.commit()
    finally:
        publication.end()


def _found(root: Path) -> str | None:
    """Read a root as Megatron-LM does: the content of its checkpoint; None where there is none."""
    if not (root / TRACKER).exists():
        return None
    assert (root / TRACKER).read_text() == "release"
    contents = {(root / "release" / name).read_text() for name in FILES}
    assert len(contents) == 1, f"a mixture: {contents}"
    return contents.pop()


def _names(root: Path) -> set[str]:
    return {path.name for path in root.iterdir()}


def _root(tmp_path: Path, old: str | None) -> Path:
    """A root with foreign files in it, and perhaps an old release."""
    root = tmp_path / "root"
    if old is not None:
        _publish(root, old)
    for name in FOREIGN:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("kept")
    if old is None:
        shutil.rmtree(root / "iter_0000005")
    return root


def _assert_clean(root: Path, old: str | None) -> None:
    foreign = {name.partition("/")[0] for name in FOREIGN} - ({"iter_0000005"} if old is None else set())
    assert _names(root) == {"release", TRACKER, TRAIN_STATE_TRACKER} | foreign
    assert all((root / name).read_text() == "kept" for name in FOREIGN if old is not None or "/" not in name)


def _count(tmp_path: Path, old: str | None, exchanges: bool) -> int:
    root = _root(tmp_path / "count", old)
    filesystem = Stepping(lambda *_: None, exchanges)
    _publish(root, "new", filesystem, overwrite=old is not None)
    return filesystem.steps


def _killed_at(step: int, root: Path, old: str | None, exchanges: bool) -> None:
    """Publish in a process of its own, which is killed before or after an operation."""
    assert killed_at(step, lambda stepping: _publish(root, "new", stepping, overwrite=old is not None), exchanges)


CASES = pytest.mark.parametrize(
    "old, exchanges",
    [(None, True), ("old", True), ("old", False)],
    ids=["first release", "release replaced", "release replaced, no exchange"],
)


@CASES
def test_kill_at_any_operation_leaves_old_or_new_and_next_clears(tmp_path, old, exchanges):
    steps = _count(tmp_path, old, exchanges)
    assert steps > 20
    between_two_renames = []
    for step in range(steps):
        root = _root(tmp_path / str(step), old)
        _killed_at(step, root, old, exchanges)
        try:
            found = _found(root)
        except FileNotFoundError:
            # On a filesystem that cannot exchange, two renames are not one operation.
            assert not exchanges
            between_two_renames.append(step)
            found = None
        else:
            assert found in (old, "new")
        _publish(root, "next", overwrite=old is not None or found == "new")
        assert _found(root) == "next"
        _assert_clean(root, old)
    assert between_two_renames == [] if exchanges else len(between_two_renames) == 2


def test_crash_between_two_renames_is_undone_first(tmp_path):
    steps = _count(tmp_path, "old", False)
    taken_back = 0
    for step in range(steps):
        root = _root(tmp_path / str(step), "old")
        _killed_at(step, root, "old", False)
        if not (root / "release").exists():
            with pytest.raises(CheckpointExistsError) as raised:
                Publication(root).begin(lambda: check_overwrite(root, False))
            assert raised.value.found[:2] == ("iter_0000005", "release")
            assert _found(root) == "old"
            _assert_clean(root, "old")
            taken_back += 1
    assert taken_back == 2


@CASES
def test_power_lost_at_any_operation_leaves_the_old_or_the_new(tmp_path, old, exchanges):
    root = _root(tmp_path, old)
    filesystem = LosingPower(root, exchanges)
    _publish(root, "new", filesystem, overwrite=old is not None)
    assert len(filesystem.states) == filesystem.steps
    seen = []
    for number, state in enumerate(filesystem.states):
        left = tmp_path / f"left{number}"
        filesystem.restore(state, left)
        found = _found(left)
        assert found in (old, "new")
        seen.append(found)
        _publish(left, "next", overwrite=old is not None or found == "new")
        assert _found(left) == "next"
        _assert_clean(left, old)
    assert seen[0] == old and seen[-1] == "new" and seen == sorted(seen, key=lambda found: found == "new")


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EDQUOT], ids=errno.errorcode.get)
@CASES
def test_error_of_any_operation_is_reported_and_keeps_the_old(tmp_path, old, exchanges, error):
    reported = 0
    for step in range(_count(tmp_path, old, exchanges)):
        root = _root(tmp_path / str(step), old)

        def fail(number: int, name: str, done: bool) -> None:
            # An operation that failed may have been done all the same; but a lock that failed is none.
            if number == step and not (name == "lock" and done):
                raise OSError(error, os.strerror(error))

        try:
            _publish(root, "new", Stepping(fail, exchanges), overwrite=old is not None)
        except OSError as raised:
            assert raised.errno == error
            assert _found(root) == old
            reported += 1
        else:
            # What comes after the tracker is clearing up.
            assert _found(root) == "new"
        _publish(root, "next", overwrite=old is not None or _found(root) == "new")
        assert _found(root) == "next"
        _assert_clean(root, old)
    assert reported > 20


def test_persistent_error_keeps_checkpoint_and_first_error(tmp_path):
    reported = 0
    for step in range(_count(tmp_path, "old", True)):
        root = _root(tmp_path / str(step), "old")

        raised_before = []

        def fail(number: int, name: str, done: bool) -> None:
            if number >= step and not (name == "lock" and done):
                raised_before.append(number)
                raise OSError(errno.EIO if len(raised_before) == 1 else errno.ENOSPC, "")

        try:
            _publish(root, "new", Stepping(fail), overwrite=True)
        except OSError as raised:
            # What is done cannot be taken back while the error stays.
            assert raised.errno == errno.EIO and _found(root) in ("old", "new")
            reported += 1
        else:
            assert _found(root) == "new"
        assert raised_before
        _publish(root, "next", overwrite=True)
        assert _found(root) == "next"
        _assert_clean(root, "old")
    assert reported > 20


_RACES = 100 if SEED == "all" else 20


def test_concurrent_publication_succeeds_only_once(tmp_path):
    for number in range(_RACES):
        root = tmp_path / str(number)
        ready, go = os.pipe()
        children = {}
        for content in ("one", "other"):
            child = os.fork()
            if not child:
                status = 3
                try:
                    os.close(go)
                    os.read(ready, 1)
                    _publish(root, content)
                    status = 0
                except (ValueError, RuntimeError) as error:
                    status = 1 if isinstance(error, (CheckpointExistsError, CheckpointDirBusyError)) else 2
                finally:
                    os._exit(status)
            children[child] = content
        os.close(ready)
        os.close(go)
        ends = {content: os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child, content in children.items()}
        assert sorted(ends.values()) == [0, 1]
        assert ends[_found(root)] == 0
        assert _names(root) == {"release", TRACKER, TRAIN_STATE_TRACKER}


def test_polling_reader_finds_no_or_complete_checkpoint(tmp_path):
    """As the first release appears."""
    before = 0
    for number in range(_RACES):
        root = tmp_path / str(number)
        root.mkdir()
        child = os.fork()
        if not child:
            status = 1
            try:
                _publish(root, "new")
                status = 0
            finally:
                os._exit(status)
        seen, ended = [_found(root)], False
        while not ended:
            # It looks once more when the other process has ended.
            ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
            seen.append(_found(root))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert set(seen) <= {None, "new"} and seen[-1] == "new"
        # What was there once stays there.
        assert seen == sorted(seen, key=lambda found: found == "new")
        before += seen[0] is None
    assert before, "it never looked before there was anything"


def test_locked_directory_error_contains_lock_owner(tmp_path):
    first = Publication(tmp_path)
    first.begin()
    with pytest.raises(CheckpointDirBusyError) as raised:
        Publication(tmp_path).begin()
    assert raised.value.root == tmp_path and raised.value.lock_owner.startswith(f"process {os.getpid()} on ")
    first.end()
    _publish(tmp_path, "new")
    assert _found(tmp_path) == "new"


@pytest.mark.parametrize("make, kind", [(Path.mkdir, "a directory"), (os.mkfifo, "a special file")])
def test_invalid_lock_file_is_refused(tmp_path, make, kind):
    make(tmp_path / ".release-lock")
    with pytest.raises(LockFileError) as raised:
        Publication(tmp_path).begin()
    assert (raised.value.file, raised.value.kind) == (tmp_path / ".release-lock", kind)
    assert [path.name for path in tmp_path.iterdir()] == [".release-lock"] and find_lock_owner(tmp_path) is None


def test_lock_owner_is_publishing_process(tmp_path):
    assert find_lock_owner(tmp_path) is None
    (tmp_path / ".release-lock").write_text("process 1 on a host that is gone")
    assert find_lock_owner(tmp_path) is None
    publication = Publication(tmp_path)
    publication.begin()
    assert find_lock_owner(tmp_path).startswith(f"process {os.getpid()} on ")
    publication.end()
    assert find_lock_owner(tmp_path) is None


def test_publication_without_locks_warns_and_keeps_leftovers(tmp_path, monkeypatch, caplog):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    (tmp_path / ".release-staging-of-another").mkdir()
    _publish(tmp_path, "new")
    assert _found(tmp_path) == "new" and "File locks are not supported" in caplog.text
    assert (tmp_path / ".release-staging-of-another").exists()
    # It would tell `check` and `repair` of an import that died.
    assert not (tmp_path / ".release-lock").exists()


def test_existing_lock_file_is_kept_when_locks_are_unavailable(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    (tmp_path / ".release-lock").touch()
    _publish(tmp_path, "new")
    assert _found(tmp_path) == "new" and (tmp_path / ".release-lock").exists()


def test_publication_waits_for_short_shared_lock(tmp_path):
    """`check`, `launch` and `repair --dry-run` lock it for a moment, to see whether anybody has it locked."""
    (tmp_path / ".release-lock").touch()
    looking = os.open(tmp_path / ".release-lock", os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    threading.Timer(0.3, os.close, [looking]).start()
    _publish(tmp_path, "new")
    assert _found(tmp_path) == "new"


def test_created_directories_are_removed_after_error(tmp_path):
    for step in range(6):

        def fail(number: int, name: str, done: bool) -> None:
            if number == step:
                raise OSError(errno.EIO, name)

        with pytest.raises(OSError, match="make_folder|sync"):
            Publication(tmp_path / "a/b/c", filesystem=Stepping(fail)).begin()
        assert not list(tmp_path.iterdir())


def test_publication_does_not_change_umask(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "umask", None)
    _publish(tmp_path / "root", "new")
    assert _found(tmp_path / "root") == "new"


def _mount_layers(folder: Path, lower: Path) -> None:
    """Mount an overlay filesystem on a folder, which this process alone sees."""
    user, group = os.getuid(), os.getgid()
    os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNS)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=True)
    shutil.copytree(lower, folder / "lower")
    for name in ("upper", "work", "root"):
        (folder / name).mkdir()
    layers = ",".join(f"{option}={folder}/{name}" for option, name in LAYERS)
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, folder / "root"], check=True)


LAYERS = (("lowerdir", "lower"), ("upperdir", "upper"), ("workdir", "work"))


def test_release_in_lower_overlay_layer_is_refused(tmp_path):
    """As an image's is in a container."""
    _publish(tmp_path / "image", "old")
    (tmp_path / "mount").mkdir()
    root, result = tmp_path / "mount/root", tmp_path / "result"

    def publish() -> None:
        try:
            _mount_layers(tmp_path / "mount", tmp_path / "image")
        except (OSError, subprocess.CalledProcessError):
            return
        result.write_text("mounted")
        try:
            Publication(root).begin()
        except OverlayError as error:
            result.write_text(f"{error.path} {_found(root)} {sorted(_names(root))}")

    run_forked(publish)
    if not result.exists():
        pytest.skip("no overlay filesystem can be mounted here")
    assert result.read_text() == f"{root}/release old {sorted(['release', TRACKER, TRAIN_STATE_TRACKER])}"


@pytest.mark.parametrize("old", [None, "old"])
def test_directories_that_cannot_be_renamed_are_refused_early(tmp_path, monkeypatch, old):
    root = _root(tmp_path, old)
    before = _names(root)

    def rename(self, source, target):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(Filesystem, "rename", rename)
    with monkeypatch.context() as patched:
        patched.setattr(filesystem, "mounts", lambda: {Path("/"): "overlay"})
        with pytest.raises(OverlayError) as raised:
            Publication(root).begin()
        assert raised.value.path.parent == root and (not old or raised.value.path.name == "release")
    with monkeypatch.context() as patched:
        patched.setattr(publishing, "mounts", lambda: {Path("/"): "ext4", root / "release": "ext4"})
        if old:
            with pytest.raises(MountPointError):
                Publication(root).begin()
    assert _names(root) == before and _found(root) == old


@pytest.mark.parametrize("old", [None, "old"])
def test_publication_works_in_upper_overlay_layer(tmp_path, monkeypatch, old):
    root = _root(tmp_path, old)
    monkeypatch.setattr(filesystem, "mounts", lambda: {Path("/"): "ext4", tmp_path: "overlay"})
    _publish(root, "new", overwrite=old is not None)
    assert _found(root) == "new"
    _assert_clean(root, old)


def test_mounts_are_listed_with_their_types():
    assert mounts()[Path("/proc")] == "proc" and Path("/") in mounts()


@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOTSUP, errno.EXDEV], ids=errno.errorcode.get)
def test_hard_link_error_contains_file(tmp_path, monkeypatch, error):
    root = _root(tmp_path, "old")
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(error, os.strerror(error))))
    publication = Publication(root)
    publication.begin()
    with pytest.raises(HardLinkError) as raised:
        publication.link(root / "release")
    assert raised.value.file == root / "release/.metadata"
    publication.end()
    _assert_clean(root, "old")


@pytest.mark.parametrize(
    ("folders", "tracker", "overwrite", "refused"),
    [
        ([], None, False, False),
        ([], None, True, False),
        (["release"], "release", False, True),
        (["release"], "release", True, False),
        (["release"], None, False, True),
        (["release"], None, True, True),
        (["release"], "relea", True, True),
        (["iter_0000000"], "0", False, True),
        (["iter_0000000"], "0", True, True),
        (["iter_0000005", "release"], "5", True, True),
        (["iter_0000005", "release"], "release", True, False),
        (["iter_0000005"], None, False, True),
        ([], "5", True, True),
    ],
)
def test_only_a_release_is_replaced_and_only_on_request(tmp_path, folders, tracker, overwrite, refused):
    for folder in folders:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / METADATA).touch()
    if tracker is not None:
        (tmp_path / TRACKER).write_text(tracker)
    if not refused:
        check_overwrite(tmp_path, overwrite)
        return
    with pytest.raises(CheckpointExistsError) as raised:
        check_overwrite(tmp_path, overwrite)
    found = (*folders, *([] if tracker is None else [f"the tracker {tracker!r}"]))
    assert (raised.value.path, raised.value.found, raised.value.overwrite) == (tmp_path, found, overwrite)
    assert raised.value.is_release == (tracker == "release")
    # A repair converts an import, and nothing that was trained further.
    can_repair = tracker != "release" and bool(folders) and "iter_0000005" not in folders
    assert raised.value.can_repair == can_repair and "\n" not in str(raised.value)


def test_bridges_tracker_alone_counts_too(tmp_path):
    (tmp_path / TRAIN_STATE_TRACKER).touch()
    with pytest.raises(CheckpointExistsError) as raised:
        check_overwrite(tmp_path, overwrite=False)
    assert raised.value.found == ("the tracker latest_train_state.pt",)


def test_interrupted_first_publication_leaves_no_checkpoint(tmp_path):
    assert not is_interrupted(tmp_path / "root")
    (tmp_path / "root/.release-staging-1").mkdir(parents=True)
    assert is_interrupted(tmp_path / "root")
    (tmp_path / "root" / TRACKER).write_text("release")
    assert not is_interrupted(tmp_path / "root")


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_modes_follow_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        _publish(tmp_path / "root", "new")
        (tmp_path / "folder").mkdir()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "root/release").stat().st_mode) == stat.S_IMODE(
        (tmp_path / "folder").stat().st_mode
    )


@pytest.mark.parametrize("name", ["a b", "größe", "x/y/z", "x/"])
def test_publication_accepts_relative_paths(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    _publish(Path(name), "new")
    assert _found(tmp_path / name) == "new"


def test_publication_follows_symlink(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    _publish(tmp_path / "link", "new")
    assert _found(tmp_path / "real") == "new" and (tmp_path / "link").is_symlink()
