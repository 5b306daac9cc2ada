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

"""Whatever stops `repair` or `revert`, the checkpoint is there and the next run goes on."""

import errno
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from faults import LosingPower, Stepping, killed_at
from hook_states import STATES
from roots import SHARD, contents

from megatron.bridge.release.__main__ import main
from megatron.bridge.release.layout import TRACKER
from megatron.bridge.release.repair.run import repair, revert
from megatron.bridge.release.write import publish as publishing
from megatron.bridge.release.write.filesystem import Filesystem
from megatron.bridge.release.write.publish import Publication
from megatron.bridge.training.utils.checkpoint_resolver import resolve_checkpoint_folder


def test_what_an_overwrite_without_exchange_was_cut_short_in_is_taken_back(default, tmp_path, capsys):
    root = Path(shutil.copytree(default, tmp_path / "root"))
    repair(root)
    expected = contents(root)
    (root / ".release-replaced-x").mkdir()
    (root / "release").rename(root / ".release-replaced-x" / "release")
    assert main(["check", str(root)]) == 1
    assert "has its release in .release-replaced-x/, where an overwrite that was cut short" in capsys.readouterr().out
    took = "take release/ back from .release-replaced-x/, where an overwrite that was cut short left it\n"
    for command in (["repair", str(root), "--dry-run"], ["repair", str(root)]):
        assert main(command) == 0
        assert capsys.readouterr().out == took
    assert contents(root) == expected


def test_a_release_whose_revert_died_stays_where_its_tracker_is_lost(default, tmp_path):
    root = Path(shutil.copytree(default, tmp_path / "root"))
    repair(root)
    expected = contents(root)
    publication = Publication(root, "iter_0000000")
    staging = publication.begin()
    shutil.copytree(root / "release", staging / "iter_0000000", copy_function=os.link)
    (staging / TRACKER).write_text("0")
    os.close(publication._lock)
    (root / TRACKER).unlink()
    repair(root)
    assert contents(root) == expected


def _read(root: Path) -> dict[str, bytes] | None:
    """What Bridge finds: the bytes of the tensors; None where its tracker names nothing, as before the repair."""
    try:
        folder = Path(resolve_checkpoint_folder(root))
    except (ValueError, FileNotFoundError):
        return None
    if not (folder / ".metadata").exists():
        return None
    assert (folder / "run_config.yaml").exists() and (folder / "tokenizer" / "tokenizer.json").exists()
    return {name: (folder / name).read_bytes() for name in (".metadata", SHARD)}


def _stepping(root: Path, action: Callable[[Path], object], filesystem: Filesystem) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(publishing, "Publication", partial(Publication, filesystem=filesystem))
        action(root)


CASES = pytest.mark.parametrize(
    ("name", "exchanges"),
    [
        ("upstream's import", True),
        ("args of seven fields", True),
        ("args of seven fields", False),
        ("release/iter_0000001", False),
        ("revert", True),
    ],
)


def _prepare(name: str, default: Path, root: Path) -> Callable[[Path], object]:
    """Make a root, and tell what to do with it."""
    shutil.copytree(default, root)
    if name == "revert":
        repair(root)
        return revert
    STATES[name](root)
    return repair


def _ends_as(root: Path) -> dict[str, bytes]:
    """What there is at the end; but the args name the root, which is another one each time."""
    found = contents(root)
    return {name: found[name] for name in found if not name.endswith(("common.pt", "integrity.json"))}


@CASES
def test_killed_at_any_operation_the_checkpoint_is_there_and_the_next_run_goes_on(name, exchanges, default, tmp_path):
    made, counted = tmp_path / "made", tmp_path / "counted"
    action = _prepare(name, default, made)
    before, whole = _read(made), _read(default)
    filesystem = Stepping(lambda *_: None, exchanges)
    _stepping(Path(shutil.copytree(made, counted)), action, filesystem)
    lost = []
    assert filesystem.steps > 50
    # What is there after an operation is what is there before the next one.
    for step in range(1, filesystem.steps, 2):
        root = Path(shutil.copytree(made, tmp_path / str(step)))
        assert killed_at(step, lambda stepping: _stepping(root, action, stepping), exchanges)
        if _read(root) not in (before, whole):
            lost.append(step)
        action(root)
        assert _ends_as(root) == _ends_as(counted)
    # A filesystem that cannot exchange takes two renames: between them there is nothing, until the next run.
    assert len(lost) == (0 if exchanges or before is None else 1)


@CASES
def test_power_lost_at_any_operation_leaves_the_checkpoint_and_the_next_run_goes_on(
    name, exchanges, default, tmp_path
):
    made, root = tmp_path / "made", tmp_path / "root"
    action = _prepare(name, default, made)
    before, whole = _read(made), _read(default)
    filesystem = LosingPower(Path(shutil.copytree(made, root)), exchanges)
    _stepping(root, action, filesystem)
    assert len(filesystem.states) > 50
    last = None
    for number, state in enumerate(filesystem.states):
        if state == last:
            continue
        left, last = tmp_path / f"left{number}", state
        filesystem.restore(state, left)
        assert _read(left) in (before, whole)
        action(left)
        assert _ends_as(left) == _ends_as(root)


@CASES
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
def test_an_error_of_any_operation_is_the_one_reported_and_loses_nothing(name, exchanges, error, default, tmp_path):
    made, counted = tmp_path / "made", tmp_path / "counted"
    action = _prepare(name, default, made)
    before, whole = _read(made), _read(default)
    filesystem = Stepping(lambda *_: None, exchanges)
    _stepping(Path(shutil.copytree(made, counted)), action, filesystem)
    reported = 0
    # Every third: an operation before which, or after which, it fails.
    for step in range(0, filesystem.steps, 3):
        root = Path(shutil.copytree(made, tmp_path / str(step)))

        def fail(number: int, operation: str, done: bool) -> None:
            if number == step and not (operation == "lock" and done):
                raise OSError(error, os.strerror(error))

        try:
            _stepping(root, action, Stepping(fail, exchanges))
        except OSError as raised:
            assert raised.errno == error
            reported += 1
        assert _read(root) in (before, whole)
        action(root)
        assert _ends_as(root) == _ends_as(counted)
    assert reported > 15
