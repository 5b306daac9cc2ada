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

"""The names in a root, the text of its tracker, and what is found of a root by its names."""

import fcntl
import os
import shlex
from pathlib import Path

import pytest

from megatron.bridge.release.checkpoint_dir import find_lock_owner, list_leftovers, read_checkpoint_dir
from megatron.bridge.release.errors import (
    InvalidTrackerError,
    IterationDirError,
    NotCheckpointDirError,
    NotRegularFileError,
    command_line,
)
from megatron.bridge.release.layout import (
    TRACKER,
    TRAIN_STATE,
    TRAIN_STATE_TRACKER,
    is_checkpoint_folder,
    parse_tracker,
)


def _root(path: Path, *checkpoints: str, tracker: str | None = "release") -> Path:
    """Make a root with folders that look like checkpoints."""
    for name in checkpoints:
        (path / name).mkdir(parents=True)
        (path / name / ".metadata").touch()
    if tracker is not None:
        (path / TRACKER).write_text(tracker)
    return path


def test_tracker_constants_have_expected_file_names():
    assert TRACKER == "latest_checkpointed_iteration.txt"
    assert (TRAIN_STATE, TRAIN_STATE_TRACKER) == ("train_state.pt", "latest_train_state.pt")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("release", (0, True)),
        (" release \n", (0, True)),
        ("0", (0, False)),
        ("\t100\n", (100, False)),
        ("007", (7, False)),
        ("9" * 18, (10**18 - 1, False)),
    ],
)
def test_parse_tracker_ignores_surrounding_whitespace(text, expected):
    assert parse_tracker(text, "t") == expected


@pytest.mark.parametrize("text", ["", " ", "-1", "+1", "1 2", "re lease", "releases", "0x1", "1.0", "9" * 19])
def test_invalid_tracker_error_contains_file_and_text(text):
    with pytest.raises(InvalidTrackerError) as raised:
        parse_tracker(text, "root/t")
    assert (raised.value.file, raised.value.content) == ("root/t", text)


@pytest.mark.parametrize(
    ("tracker", "expected"),
    [
        (None, None),
        ("release\n", "release"),
        ("0", "iter_0000000"),
        (" 12", "iter_0000012"),
        ("10000000", "iter_10000000"),
    ],
)
def test_tracker_refers_to_an_iteration_directory(tmp_path, tracker, expected):
    assert read_checkpoint_dir(_root(tmp_path, tracker=tracker)).tracked == expected


def test_tracked_checkpoint_raises_error_when_tracker_is_invalid(tmp_path):
    with pytest.raises(InvalidTrackerError) as raised:
        read_checkpoint_dir(_root(tmp_path, tracker="x")).tracked
    assert (raised.value.file, raised.value.content) == (str(tmp_path / TRACKER), "x")


@pytest.mark.parametrize("name", ["release", "iter_0000000", "iter_0000100", "iter_9999999", "iter_10000000"])
def test_checkpoint_names_are_recognized(name):
    assert is_checkpoint_folder(name)


@pytest.mark.parametrize(
    "name",
    ["", "Release", "release.old", "release-1", "iter_", "iter_1", "iter_000000", "iter_00000001", "iter_0000001.tmp"]
    + ["my_iter_0000001", "iter_-000001", "iter_1" + "0" * 18],
)
def test_malformed_checkpoint_names_are_not_recognized(name):
    assert not is_checkpoint_folder(name)


def test_checkpoints_are_distinguished_from_unrelated_entries(tmp_path):
    root = _root(tmp_path, "release", "iter_0000000", "iter_0000100/iter_0000001", "other")
    (root / "iter_0000005").write_text("a file")
    found = read_checkpoint_dir(root)
    assert found.path == root and found.tracker == "release" and not found.has_train_state
    assert found.checkpoints == ("iter_0000000", "release", "iter_0000100/iter_0000001")
    assert found.empty == ("iter_0000100",)
    assert (found.leftovers, found.lock_owner, found.replaced) == ((), None, None)


@pytest.mark.parametrize("tracker", [None, "", " 100 \n", "\N{SNOWMAN}"])
def test_tracker_is_read_unmodified(tmp_path, tracker):
    assert read_checkpoint_dir(_root(tmp_path, tracker=tracker)).tracker == tracker


def test_tracker_error_is_short_for_long_and_binary_content(tmp_path):
    assert read_checkpoint_dir(_root(tmp_path, tracker="1" * 1000)).tracker == "1" * 100
    (tmp_path / TRACKER).write_bytes(b"re\xff")
    assert read_checkpoint_dir(tmp_path).tracker == "re\N{REPLACEMENT CHARACTER}"


def test_train_state_tracker_is_detected(tmp_path):
    (_root(tmp_path) / TRAIN_STATE_TRACKER).touch()
    assert read_checkpoint_dir(tmp_path).has_train_state


@pytest.mark.parametrize("name", [TRACKER, TRAIN_STATE_TRACKER])
def test_tracker_that_is_symlink_or_directory_is_refused(tmp_path, name):
    root = _root(tmp_path / "root", "release")
    (root / name).unlink(missing_ok=True)
    (tmp_path / "elsewhere").write_text("release")
    (root / name).symlink_to(tmp_path / "elsewhere")
    for _ in range(2):
        with pytest.raises(NotRegularFileError) as raised:
            read_checkpoint_dir(root)
        assert raised.value.path == root / name
        if (root / name).is_symlink():
            (root / name).unlink()
            (root / name).mkdir()


def test_checkpoint_directory_error_contains_kind_of_path(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    for name, kind in {"file": "file", "link": "dangling symlink", "gone": "missing"}.items():
        with pytest.raises(NotCheckpointDirError) as raised:
            read_checkpoint_dir(tmp_path / name)
        assert (raised.value.path, raised.value.kind) == (tmp_path / name, kind)


def test_iteration_directory_is_refused_unless_tracker_exists(tmp_path):
    root = _root(tmp_path, "release")
    with pytest.raises(IterationDirError) as raised:
        read_checkpoint_dir(root / "release")
    assert (raised.value.path, raised.value.checkpoint_dir) == (root / "release", root)
    (root / "release" / TRACKER).write_text("0")
    assert read_checkpoint_dir(root / "release").checkpoints == ()


def test_leftovers_are_listed_without_symlinks(tmp_path):
    root = _root(tmp_path, "release")
    for name in (".release-staging-a", ".release-replaced-b", ".release-other"):
        (root / name).mkdir()
    (root / ".release-staging-link").symlink_to(".release-staging-a")
    (root / ".release-staging-file").touch()
    (root / ".release-lock").touch()
    assert read_checkpoint_dir(root).leftovers == (".release-lock", ".release-replaced-b", ".release-staging-a")
    assert list_leftovers(root, ".release-staging-") == [root / ".release-staging-a"]
    assert list_leftovers(root / "gone", ".release-staging-") == []


def test_replaced_release_is_found_only_when_release_is_missing(tmp_path):
    root = _root(tmp_path, ".release-replaced-b/release")
    assert read_checkpoint_dir(root).replaced == ".release-replaced-b"
    (root / ".release-replaced-b/release/.metadata").unlink()
    assert read_checkpoint_dir(root).replaced is None
    (root / ".release-replaced-b/release/.metadata").touch()
    (root / "release").mkdir()
    assert read_checkpoint_dir(root).replaced is None


def test_find_lock_owner_returns_process_only_when_locked(tmp_path):
    lock = _root(tmp_path) / ".release-lock"
    assert find_lock_owner(tmp_path) is None
    lock.write_text("process 5 on here\n")
    assert find_lock_owner(tmp_path) is None
    with open(lock) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert find_lock_owner(tmp_path) == "process 5 on here" == read_checkpoint_dir(tmp_path).lock_owner
        os.truncate(lock, 0)
        assert find_lock_owner(tmp_path) == "unknown process"
    assert find_lock_owner(tmp_path) is None


@pytest.mark.parametrize("root", ["ckpt", "my ckpt", "a;b", "it's"])
def test_repair_command_is_quoted_for_shell(root):
    command = ["python", "-m", "megatron.bridge.release", "repair", root]
    assert shlex.split(command_line("repair", Path(root))) == command
