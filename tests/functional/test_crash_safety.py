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

"""A real import that is killed, or whose disk fails, leaves the old checkpoint or the new one, bit by bit.

The smaller parts, at many more operations and on more filesystems: tests/unit/bridge/test_publishing.py.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

import pytest
import torch
from faults import Stepping, killed_at
from megatron_lm import tree
from safetensors.torch import load_file

from megatron.bridge import AutoBridge
from megatron.bridge.training.utils.publishing import Publication


EXAMPLE = Path(__file__).parents[2] / "examples/import_release.py"
TRACKER = "latest_checkpointed_iteration.txt"


def _bytes(root: Path) -> dict[str, bytes]:
    """All that a reader may see of a root."""
    return {name: (root / name).read_bytes() for name in tree(root) if not name.startswith(".release-")}


# What torch writes into .metadata and is another one in each import: the staging folder and an ID.
_OF_THIS_IMPORT = re.compile(rb"\.release-staging-\w{8}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _bytes_of_any_import(root: Path) -> dict[str, bytes]:
    """All that a reader may see of a root, as each import to the same path writes it."""
    found = _bytes(root)
    if "release/.metadata" in found:
        metadata = found["release/.metadata"]
        digest = hashlib.sha256(metadata).hexdigest().encode()
        assert found["release/integrity.json"].count(digest) == 1
        found["release/integrity.json"] = found["release/integrity.json"].replace(digest, b"")
        found["release/.metadata"] = _OF_THIS_IMPORT.sub(b"", metadata)
    return found


def _restore(root: Path, snapshot: Path) -> None:
    for path in root.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(snapshot, root, dirs_exist_ok=True)


@pytest.fixture(scope="module", params=["first release", "release replaced"])
def killed(request, tiny, other, tmp_path_factory) -> tuple[list[Path], dict[str, bytes], dict[str, bytes]]:
    """What a real import leaves that is killed before and after each operation of its publication; the old and the new.

    Everything up to the publication is done once; from there a process of its own goes on for each operation.
    """
    folder = tmp_path_factory.mktemp("killed")
    root = folder / "root"
    if request.param == "release replaced":
        shutil.copytree(tiny.root, root)
    old = _bytes(root) if root.exists() else {}
    left: list[Path] = []
    commit = Publication.commit

    def killed_commits(publication: Publication) -> None:
        snapshot = Path(shutil.copytree(root, folder / "snapshot"))

        def publish(stepping: Stepping) -> None:
            publication.filesystem = stepping
            commit(publication)
            publication.end()

        while killed_at(len(left), publish):
            left.append(Path(shutil.copytree(root, folder / f"left{len(left)}")))
            _restore(root, snapshot)
        _restore(root, snapshot)
        commit(publication)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Publication, "commit", killed_commits)
        AutoBridge.import_ckpt(other.hf, root, release=True, overwrite=True)
    return left, old, _bytes(root)


def test_killed_at_any_operation_every_byte_is_of_the_old_or_of_the_new(killed, count):
    left, old, new = killed
    count("SIGKILL", "a real import", len(left))
    # Every file and folder is synced, before and after; then the renames.
    assert len(left) > 2 * len(new)
    seen = []
    for root in left:
        found = _bytes(root)
        published = TRACKER in found
        assert found in (old, new) if published else old == {}
        seen.append(published and found == new)
    assert seen == sorted(seen) and seen[-1] and not seen[0]


def test_after_every_kill_the_next_import_succeeds_and_clears_up(killed, tiny, tmp_path):
    left, *_ = killed
    # A run cleans what it finds before it writes; the imports themselves are alike: a few of them are real.
    for root in dict.fromkeys([*left[:: len(left) // 4], left[-1]]):
        copy = Path(shutil.copytree(root, tmp_path / root.name))
        AutoBridge.import_ckpt(tiny.hf, copy, release=True, overwrite=True)
        assert sorted(path.name for path in copy.iterdir()) == [TRACKER, "latest_train_state.pt", "release"]
        exported = tmp_path / f"{root.name}-hf"
        AutoBridge.from_hf_pretrained(tiny.hf).export_ckpt(copy, exported, show_progress=False)
        expected, found = (load_file(folder / "model.safetensors") for folder in (tiny.hf, exported))
        assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


@pytest.fixture
def small_disk(tiny, tmp_path) -> Iterator[Path]:
    """A disk of its own, with a release at ``root``; a test says how much room there is besides."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"this host lets nobody mount a tmpfs here: {mounted.stderr.strip()}")
    try:
        shutil.copytree(tiny.root, disk / "root")
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


def _leave_free(disk: Path, free: int) -> None:
    size = shutil.disk_usage(disk).used + free
    subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)


def _weights_size(hf: Path) -> int:
    return (hf / "model.safetensors").stat().st_size


def test_a_disk_smaller_than_the_weights_is_refused_before_the_work(small_disk, other, monkeypatch):
    root = small_disk / "root"
    before = _bytes(root)
    _leave_free(small_disk, _weights_size(other.hf) - os.sysconf("SC_PAGESIZE"))
    monkeypatch.setattr(AutoBridge, "from_hf_pretrained", None)
    with pytest.raises(ValueError, match=f"{root} has 0.0 GB free and the checkpoint needs 0.0 GB"):
        AutoBridge.import_ckpt(other.hf, root, release=True, overwrite=True)
    assert _bytes(root) == before and not list(root.glob(".release-*"))


def test_a_disk_that_is_full_half_way_is_the_error_and_the_old_stays(small_disk, other):
    """The weights alone would fit; what a checkpoint adds to them does not. As a user imports, from a shell."""
    root = small_disk / "root"
    before = _bytes(root)
    _leave_free(small_disk, _weights_size(other.hf) + os.sysconf("SC_PAGESIZE"))
    run = subprocess.run(
        [sys.executable, "-W", "ignore", EXAMPLE, other.hf, root, "--overwrite"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1] == f"error: [Errno 28] No space left on device: '{root}'"
    assert _bytes(root) == before and not list(root.glob(".release-*"))


def test_whichever_file_fills_the_disk_the_error_says_so_and_the_old_stays(small_disk, other):
    """From the weights' file to the last one, in steps of 16 KiB, until there is room for all."""
    root = small_disk / "root"
    before, errors = _bytes(root), []
    for free in range(_weights_size(other.hf) + 16384, 2 * _weights_size(other.hf), 16384):
        _leave_free(small_disk, free)
        try:
            AutoBridge.import_ckpt(other.hf, root, release=True, overwrite=True)
        except (OSError, RuntimeError) as error:
            errors.append(str(error))
        else:
            break
        assert _bytes(root) == before and not list(root.glob(".release-*"))
    assert _bytes(root) != before
    assert all("No space left on device" in error for error in errors), errors
    # The writers' own file, one of those after it, and the tokenizer.
    assert any(f"'{root}'" in error for error in errors) and any("tokenizer" in error for error in errors), errors


@dataclass(frozen=True)
class TwoRanks:
    """What `killed_ranks_worker.py` left: the roots, how the ranks ended, and a root before and after an import."""

    out: Path
    ends: dict[str, dict[str, list]]
    old: dict[str, bytes]
    new: dict[str, bytes]


@pytest.fixture(scope="module")
def two(tiny, other, tmp_path_factory) -> TwoRanks:
    """Imports on two ranks that something happens to."""
    out = tmp_path_factory.mktemp("two")
    worker = Path(__file__).with_name("killed_ranks_worker.py")
    run = subprocess.run(
        [sys.executable, "-W", "ignore", worker, other.hf, tiny.root, out],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    ends = json.loads((out / "ends.json").read_text())
    *_, last = ends
    assert ends[last]["statuses"] == [0, 0]
    return TwoRanks(out, ends, _bytes_of_any_import(tiny.root), _bytes_of_any_import(out / last))


def test_where_rank_0_is_killed_the_other_ends_and_every_byte_is_of_the_old_or_of_the_new(two, count):
    killed = [name for name, end in two.ends.items() if end["statuses"][0] == -signal.SIGKILL]
    count("SIGKILL", "rank 0", len(killed))
    # Every file and folder is synced; then the renames.
    assert len(killed) > len(two.new)
    seen = []
    for name in killed:
        found = _bytes_of_any_import(two.out / name)
        assert found in (two.old, two.new)
        seen.append(found == two.new)
        # It learns of the death from the connection; where it waits for nothing more, it has succeeded.
        status, error = two.ends[name]["statuses"][1], two.ends[name]["errors"][1]
        assert (status, bool(error)) == (1, True) or (status == 0 and seen[-1])
    assert seen == sorted(seen) and seen[-1] and not seen[0]


def test_after_rank_0_was_killed_the_next_import_succeeds_and_clears_up(two, tiny, tmp_path):
    killed = [name for name, end in two.ends.items() if end["statuses"][0] == -signal.SIGKILL]
    for name in dict.fromkeys([*killed[:: len(killed) // 3], killed[-1]]):
        root = Path(shutil.copytree(two.out / name, tmp_path / name))
        AutoBridge.import_ckpt(tiny.hf, root, release=True, overwrite=True)
        assert tree(root) == tree(tiny.root)


@pytest.mark.parametrize("moment", ["kill_before_saving", "kill_while_writing", "kill_before_publishing"])
def test_where_rank_1_is_killed_the_other_ends_with_an_error_and_leaves_nothing_half(two, moment, count):
    count("SIGKILL", "rank 0", 1)
    assert two.ends[moment]["statuses"] == [1, -signal.SIGKILL]
    # The last it hears of the other may be before rank 0 has published, or after.
    assert _bytes_of_any_import(two.out / moment) in ({}, two.new)
    assert not list((two.out / moment).glob(".release-*"))


def test_where_the_writer_of_one_rank_fails_every_rank_names_the_first_cause(two):
    end = two.ends["write_small_files_only"]
    assert end["statuses"] == [1, 1]
    assert end["errors"] == [f"OSError: [Errno 27] File too large: '{two.out / 'root'}'"] * 2
    assert list((two.out / "write_small_files_only").iterdir()) == []
