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

"""A real import whose disk is too small, or gets full, says so and leaves the old checkpoint, bit by bit."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Iterator

import pytest
from hf_tensors import assert_same_tensors
from roots import visible_contents
from workers import TIMEOUT, python

from megatron.bridge import AutoBridge
from megatron.bridge.release.export import run as exporting
from megatron.bridge.release.source.errors import FreeSpaceError


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


def test_disk_smaller_than_the_weights_is_refused_early(small_disk, other, monkeypatch):
    root = small_disk / "root"
    before = visible_contents(root)
    _leave_free(small_disk, _weights_size(other.hf) - os.sysconf("SC_PAGESIZE"))
    monkeypatch.setattr(AutoBridge, "from_hf_pretrained", None)
    with pytest.raises(FreeSpaceError) as raised:
        AutoBridge.import_ckpt(other.hf, root, release=True, overwrite=True)
    assert raised.value.path == root
    assert all(re.fullmatch("[1-9].*B", size) for size in (raised.value.free, raised.value.needed))
    assert visible_contents(root) == before and not list(root.glob(".release-*"))


def test_disk_full_during_the_write_keeps_the_old_release(small_disk, other):
    """The weights alone would fit; what a checkpoint adds to them does not. As a user imports, from a shell."""
    root = small_disk / "root"
    before = visible_contents(root)
    _leave_free(small_disk, _weights_size(other.hf) + os.sysconf("SC_PAGESIZE"))
    run = subprocess.run(
        [python(), "-m", "megatron.bridge.release", "import", other.hf, root, "--overwrite"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert run.returncode == 1
    file = rf"{re.escape(str(root))}/\.release-staging-\w{{8}}/release/__0_\d_[0-9a-f]{{8}}\.distcp"
    said = rf"error: \[Errno 28\] No space left on device: '{file}'. {root} is unchanged\. Fix the error and run the import again\."
    assert re.fullmatch(said, run.stderr.splitlines()[-1])
    assert visible_contents(root) == before and not list(root.glob(".release-*"))


def test_import_keeps_release_when_disk_is_full(small_disk, other):
    """From the weights' file to the last one, in steps of 16 KiB, until there is room for all."""
    root = small_disk / "root"
    before, errors = visible_contents(root), []
    for free in range(_weights_size(other.hf) + 16384, 2 * _weights_size(other.hf), 16384):
        _leave_free(small_disk, free)
        try:
            AutoBridge.import_ckpt(other.hf, root, release=True, overwrite=True)
        except (OSError, RuntimeError) as error:
            errors.append(str(error))
        else:
            break
        assert visible_contents(root) == before and not list(root.glob(".release-*"))
    assert visible_contents(root) != before
    assert all("No space left on device" in error for error in errors), errors
    # Those of the tensors, one of those after them, and the tokenizer.
    for file in (r"/__0_\d_[0-9a-f]{8}\.distcp'", rf"'{re.escape(str(root))}'", "tokenizer"):
        assert any(re.search(file, error) for error in errors), (file, errors)


def test_export_leaves_no_files_when_disk_is_full(small_disk, tiny, monkeypatch):
    """In steps of 16 KiB, until there is room for all."""
    monkeypatch.setattr(exporting, "check_free_space", lambda folder, needed: None)
    bridge, out, errors = AutoBridge.from_hf_pretrained(tiny.hf), small_disk / "out", []
    for free in range(16384, 2 * _weights_size(tiny.hf), 16384):
        _leave_free(small_disk, free)
        try:
            bridge.export_ckpt(tiny.root, out, show_progress=False)
        except OSError as error:
            errors.append(str(error))
            assert not out.exists()
        else:
            break
    assert_same_tensors(out, tiny.hf)
    assert all("No space left on device" in error for error in errors), errors
    for file in ("model.safetensors", "tokenizer"):
        assert any(file in error for error in errors), (file, errors)
