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

"""If `repair` is interrupted, the checkpoint stays readable and the next run completes the repair."""

import errno
import os
import shutil
from functools import partial
from pathlib import Path

import pytest
from faults import SEED, LosingPower, Stepping, chosen, killed_at
from hook_states import STATES
from roots import SHARD, contents

from megatron.bridge.release.__main__ import main
from megatron.bridge.release.repair.run import repair
from megatron.bridge.release.write import publish as publishing
from megatron.bridge.release.write.filesystem import Filesystem
from megatron.bridge.release.write.publish import Publication
from megatron.bridge.training.utils.checkpoint_resolver import resolve_checkpoint_folder


def test_release_of_an_interrupted_overwrite_is_restored(default, tmp_path, capsys):
    root = Path(shutil.copytree(default, tmp_path / "root"))
    repair(root)
    expected = contents(root)
    (root / ".release-replaced-x").mkdir()
    (root / "release").rename(root / ".release-replaced-x" / "release")
    assert main(["check", str(root)]) == 1
    assert "an interrupted --overwrite left it in .release-replaced-x/" in capsys.readouterr().out
    took = "restore release/ from .release-replaced-x/ (interrupted --overwrite)\n"
    for command in (["repair", str(root), "--dry-run"], ["repair", str(root)]):
        assert main(command) == 0
        assert capsys.readouterr().out == took
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


def _stepping(root: Path, filesystem: Filesystem) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(publishing, "Publication", partial(Publication, filesystem=filesystem))
        repair(root)


CASES = pytest.mark.parametrize(
    ("name", "exchanges"),
    [
        ("upstream's import", True),
        ("args of seven fields", True),
        ("args of seven fields", False),
        ("release/iter_0000001", False),
    ],
)


def _prepare(name: str, default: Path, root: Path) -> None:
    shutil.copytree(default, root)
    STATES[name](root)


def _ends_as(root: Path) -> dict[str, bytes]:
    """What there is at the end; but the args name the root, which is another one each time."""
    found = contents(root)
    return {name: found[name] for name in found if not name.endswith(("common.pt", "integrity.json"))}


@CASES
def test_repair_completes_repair_killed_at_any_operation(name, exchanges, default, tmp_path):
    made, counted = tmp_path / "made", tmp_path / "counted"
    _prepare(name, default, made)
    before, whole = _read(made), _read(default)
    filesystem = Stepping(lambda *_: None, exchanges)
    _stepping(Path(shutil.copytree(made, counted)), filesystem)
    lost = []
    assert filesystem.steps > 50
    # What is there after an operation is what is there before the next one.
    for step in (2 * operation + 1 for operation in chosen(filesystem.names[1::2])):
        root = Path(shutil.copytree(made, tmp_path / str(step)))
        assert killed_at(step, lambda stepping: _stepping(root, stepping), exchanges)
        if _read(root) not in (before, whole):
            lost.append(step)
        repair(root)
        assert _ends_as(root) == _ends_as(counted)
    # A filesystem that cannot exchange takes two renames: between them there is nothing, until the next run.
    assert len(lost) == (0 if exchanges or before is None else 1)


@CASES
def test_repair_completes_repair_after_power_loss(name, exchanges, default, tmp_path):
    made, root = tmp_path / "made", tmp_path / "root"
    _prepare(name, default, made)
    before, whole = _read(made), _read(default)
    filesystem = LosingPower(Path(shutil.copytree(made, root)), exchanges)
    _stepping(root, filesystem)
    assert len(filesystem.states) > 50
    last = None
    for number in chosen(filesystem.names):
        state = filesystem.states[number]
        if state == last:
            continue
        left, last = tmp_path / f"left{number}", state
        filesystem.restore(state, left)
        assert _read(left) in (before, whole)
        repair(left)
        assert _ends_as(left) == _ends_as(root)


@CASES
@pytest.mark.parametrize(
    "error", [errno.ENOSPC, pytest.param(errno.EIO, marks=pytest.mark.exhaustive)], ids=errno.errorcode.get
)
def test_repair_reports_operation_error_and_keeps_checkpoint(name, exchanges, error, default, tmp_path):
    made, counted = tmp_path / "made", tmp_path / "counted"
    _prepare(name, default, made)
    before, whole = _read(made), _read(default)
    filesystem = Stepping(lambda *_: None, exchanges)
    _stepping(Path(shutil.copytree(made, counted)), filesystem)
    reported = 0
    # An operation before which, or after which, it fails.
    for step in chosen(filesystem.names):
        root = Path(shutil.copytree(made, tmp_path / str(step)))

        def fail(number: int, operation: str, done: bool) -> None:
            if number == step and not (operation == "lock" and done):
                raise OSError(error, os.strerror(error))

        try:
            _stepping(root, Stepping(fail, exchanges))
        except OSError as raised:
            assert raised.errno == error
            reported += 1
        assert _read(root) in (before, whole)
        repair(root)
        assert _ends_as(root) == _ends_as(counted)
    assert reported > (45 if SEED == "all" else 15)
