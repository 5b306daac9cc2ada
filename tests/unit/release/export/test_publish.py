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

"""Whatever stops an export, a reader finds no model or the whole model, and the next export clears up.

Real processes that are killed, and a disk that loses what was not synced, at every operation that publishing makes.
"""

import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from faults import LosingPower, Stepping, killed_at

from megatron.bridge.release.export.errors import DiskSpaceError, OutputInCheckpointError, OutputNotEmptyError
from megatron.bridge.release.export.output_dir import check_empty, check_free_space, check_location
from megatron.bridge.release.export.publish import FolderPublication
from megatron.bridge.release.source.errors import OutputInModelError
from megatron.bridge.release.write.filesystem import Filesystem


FILES = ("config.json", "model.safetensors", "tokenizer.json", "additional_chat_templates/tool.jinja")


def _export(out: Path, content: str, filesystem: Filesystem | None = None) -> None:
    publication = FolderPublication(out, filesystem or Filesystem())
    staging = publication.begin_empty()
    try:
        for name in FILES:
            (staging / name).parent.mkdir(exist_ok=True)
            (staging / name).write_text(content)
        publication.commit()
    finally:
        publication.end()


def _read(out: Path) -> str | None:
    """Read a folder as transformers does: the content of its model; None if there is none."""
    if not (out / "config.json").exists():
        return None
    contents = {(out / name).read_text() for name in FILES}
    assert len(contents) == 1, f"a mixture: {contents}"
    return contents.pop()


def _assert_whole(out: Path, content: str) -> None:
    assert _read(out) == content
    assert {path.name for path in out.iterdir()} == {name.partition("/")[0] for name in FILES}


def _count(out: Path) -> int:
    filesystem = Stepping(lambda *_: None)
    _export(out, "new", filesystem)
    return filesystem.steps


def _next(out: Path, found: str | None) -> None:
    """Export once more: into the folder, or, if the killed export had completed, it is refused and clears up."""
    if found is None:
        _export(out, "next")
        _assert_whole(out, "next")
        return
    with pytest.raises(OutputNotEmptyError):
        FolderPublication(out).begin_empty()
    _assert_whole(out, found)


def test_kill_at_any_operation_leaves_none_or_the_complete_model(tmp_path):
    steps = _count(tmp_path / "count")
    seen = []
    for step in range(steps):
        out = tmp_path / str(step)
        assert killed_at(step, lambda stepping: _export(out, "new", stepping))
        seen.append(_read(out))
        assert seen[-1] in (None, "new")
        _next(out, seen[-1])
    assert seen == sorted(seen, key=bool) and seen[0] is None and seen[-1] == "new"


def test_power_loss_leaves_none_or_the_complete_model(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    filesystem = LosingPower(out)
    _export(out, "new", filesystem)
    seen = []
    for number, state in enumerate(filesystem.states):
        left = tmp_path / f"left{number}"
        filesystem.restore(state, left)
        seen.append(_read(left))
        assert seen[-1] in (None, "new")
        _next(left, seen[-1])
    assert seen == sorted(seen, key=bool) and seen[0] is None and seen[-1] == "new"


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EDQUOT], ids=errno.errorcode.get)
def test_export_leaves_no_model_when_operation_fails(tmp_path, error):
    reported = 0
    for step in range(_count(tmp_path / "count")):
        out = tmp_path / str(step)

        def fail(number: int, name: str, done: bool) -> None:
            if number == step and not (name == "lock" and done):
                raise OSError(error, os.strerror(error))

        try:
            _export(out, "new", Stepping(fail))
        except OSError as raised:
            assert raised.errno == error and _read(out) is None
            assert not out.exists() or not [path for path in out.iterdir() if path.name in FILES]
            reported += 1
        else:
            assert _read(out) == "new"
        _next(out, _read(out))
    assert reported > 20


def test_persistent_error_is_cleaned_up_by_the_next_export(tmp_path):
    for step in range(_count(tmp_path / "count")):
        out, raised_before = tmp_path / str(step), []

        def fail(number: int, name: str, done: bool) -> None:
            if number >= step and not (name == "lock" and done):
                raised_before.append(number)
                raise OSError(errno.EIO if len(raised_before) == 1 else errno.ENOSPC, "")

        try:
            _export(out, "new", Stepping(fail))
        except OSError as raised:
            assert raised.errno == errno.EIO and _read(out) in (None, "new")
        _next(out, _read(out))


def test_symlink_to_empty_directory_is_kept(tmp_path):
    (tmp_path / "disk").mkdir()
    out = tmp_path / "out"
    out.symlink_to("disk")
    _export(out, "new")
    assert out.is_symlink()
    _assert_whole(tmp_path / "disk", "new")


def test_export_writes_into_mount_point(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", out], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"this host does not allow mounting a tmpfs: {mounted.stderr.strip()}")
    try:
        assert out.stat().st_dev != tmp_path.stat().st_dev
        _export(out, "new")
        _assert_whole(out, "new")
    finally:
        subprocess.run(["umount", out], check=True)


def test_renames_stay_inside_the_output_directory(tmp_path):
    """On a mount point such a rename fails (EXDEV, EBUSY); hosts that allow no mount see it here."""

    class OneFilesystem(Filesystem):
        def rename(self, source: Path, target: Path) -> None:
            assert out in source.parents and out in target.parents
            super().rename(source, target)

    out = tmp_path / "out"
    _export(out, "new", OneFilesystem())
    _assert_whole(out, "new")


def test_nonempty_directory_is_refused_and_unchanged(tmp_path):
    (tmp_path / "mine").write_text("mine")
    for _ in range(2):
        with pytest.raises(OutputNotEmptyError) as raised:
            FolderPublication(tmp_path).begin_empty()
        assert raised.value.names == ("mine",)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_cleanup_keeps_files_outside_output_directory(tmp_path):
    """A list in a staging folder that names what is not in the folder removes nothing beyond it."""
    victim = tmp_path / "victim"
    victim.write_text("kept")
    for content in ('["../victim"]', f'["{victim}"]', '["", ".", ".."]', "[1]", "{", '{"a": "b"}'):
        out = tmp_path / "out"
        (out / ".release-staging-x").mkdir(parents=True)
        (out / ".release-staging-x/.moved.json").write_text(content)
        _export(out, "new")
        _assert_whole(out, "new")
        shutil.rmtree(out)
    assert victim.read_text() == "kept"


def test_file_that_appears_meanwhile_is_not_replaced(tmp_path):
    publication = FolderPublication(tmp_path)
    staging = publication.begin_empty()
    (staging / "config.json").write_text("new")
    (tmp_path / "config.json").write_text("mine")
    with pytest.raises(FileExistsError, match="^Another program has written"):
        publication.commit()
    publication.end()
    assert (tmp_path / "config.json").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


def test_file_that_appears_during_sync_is_not_replaced(tmp_path, monkeypatch):
    publication = FolderPublication(tmp_path)
    staging = publication.begin_empty()
    for name in ("a", "config.json"):
        (staging / name).write_text("new")
    monkeypatch.setattr(publication, "_sync_all", lambda _: (tmp_path / "config.json").write_text("mine"))
    with pytest.raises(FileExistsError, match="^Another program has written"):
        publication.commit()
    publication.end()
    assert (tmp_path / "config.json").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


def test_file_added_after_a_kill_is_kept(tmp_path):
    staging = tmp_path / ".release-staging-x"
    staging.mkdir()
    (staging / ".moved.json").write_text('["a", "config.json"]')
    (staging / "a").write_text("not moved yet")
    (tmp_path / "a").write_text("mine")
    with pytest.raises(OutputNotEmptyError):
        _export(tmp_path, "new")
    assert (tmp_path / "a").read_text() == "mine"


def test_remains_of_killed_export_count_as_empty(tmp_path):
    steps = _count(tmp_path / "count")
    for step in range(steps):
        out = tmp_path / str(step)
        assert killed_at(step, lambda stepping: _export(out, "new", stepping))
        if _read(out) is None:
            check_empty(out)
        else:
            with pytest.raises(OutputNotEmptyError) as raised:
                check_empty(out)
            assert (raised.value.out, "config.json" in raised.value.names) == (out, True)


def test_free_space_is_checked_for_a_missing_directory(tmp_path):
    check_free_space(tmp_path / "a/b", 1)
    with pytest.raises(DiskSpaceError) as raised:
        check_free_space(tmp_path / "a/b", 10**18)
    assert raised.value.needed == 10**18 > raised.value.free


@pytest.fixture
def root(tmp_path) -> Path:
    """A checkpoint directory with a release, in which an iteration is nested."""
    root = tmp_path / "root"
    for name in ("release", "release/iter_0000001"):
        (root / name).mkdir(parents=True)
        (root / name / ".metadata").touch()
    return root


@pytest.mark.parametrize("checkpoint", [".", "release", "release/iter_0000001"])
@pytest.mark.parametrize(
    "out",
    ["release", "release/out", "release/iter_0000001/a/b", "iter_0000009", "iter_0000009/out", "x/../release/out"],
)
def test_output_in_iteration_directory_is_refused(root, tmp_path, checkpoint, out):
    (root / "x").mkdir()
    with pytest.raises(OutputInCheckpointError):
        check_location(root / out, [root / checkpoint], None)
    # Through a symlink.
    (tmp_path / "link").symlink_to(root)
    with pytest.raises(OutputInCheckpointError):
        check_location(tmp_path / "link" / out, [root / checkpoint], None)
    with pytest.raises(OutputInCheckpointError):
        check_location(root / out, [tmp_path / "link" / checkpoint], None)


def test_symlinked_iteration_directory_is_refused(root, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (root / "iter_0000009").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputInCheckpointError) as raised:
        check_location(root / "iter_0000009", [root], None)
    assert raised.value.is_name
    (tmp_path / "out").symlink_to(root / "release")
    with pytest.raises(OutputInCheckpointError):
        check_location(tmp_path / "out", [root], None)


def test_output_next_to_checkpoints_is_accepted(root, tmp_path):
    for out in ("hf", "iter_3", "release.hf", "hf/release", "../root2/release"):
        check_location(root / out, [root, root / "release"], tmp_path / "hf")
    # A checkpoint directory may have any name.
    root.rename(tmp_path / "release")
    check_location(tmp_path / "release/hf", [tmp_path / "release"], None)
    with pytest.raises(OutputInModelError) as raised:
        check_location(tmp_path / "hf/out", [tmp_path / "release"], tmp_path / "hf")
    assert (raised.value.path, raised.value.model) == (tmp_path / "hf/out", tmp_path / "hf")


def test_output_in_checkpoint_of_any_name_is_refused(tmp_path):
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy/.metadata").touch()
    for out in ("copy", "copy/out"):
        with pytest.raises(OutputInCheckpointError) as raised:
            check_location(tmp_path / out, [tmp_path / "copy"], None)
        assert (raised.value.directory, raised.value.is_name) == (tmp_path / "copy", False)
