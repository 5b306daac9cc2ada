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

On a disk that is full: test_full_disk.py; on two ranks: test_killed_ranks.py. The smaller parts, at many more operations
and on more filesystems: tests/unit/release/write/test_publish.py.
"""

import errno
import gc
import logging
import os
import re
import shutil
import signal
import subprocess
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from faults import Stepping, failing, kill_when_written, killed_at, run_forked
from hf_tensors import assert_exported
from roots import tree, visible_contents
from torch.distributed import checkpoint
from torch.distributed.checkpoint import FileSystemWriter
from workers import TIMEOUT, python

from megatron.bridge import AutoBridge
from megatron.bridge.release.__main__ import main
from megatron.bridge.release.layout import TRACKER, TRAIN_STATE_TRACKER
from megatron.bridge.release.verify.check import check
from megatron.bridge.release.write.entry_file import EntryFile
from megatron.bridge.release.write.publish import Publication
from megatron.bridge.release.write.streaming import StreamedWeights


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
    old = visible_contents(root) if root.exists() else {}
    left: list[Path] = []
    commit = Publication.commit

    def killed_commits(publication: Publication) -> None:
        snapshot = Path(shutil.copytree(root, folder / "snapshot"))

        def publish(stepping: Stepping) -> None:
            publication._filesystem = stepping
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
    return left, old, visible_contents(root)


def test_kill_at_any_operation_leaves_the_old_or_new_bytes(killed):
    left, old, new = killed
    # Every file and folder is synced, before and after; then the renames.
    assert len(left) > 2 * len(new)
    seen = []
    for root in left:
        found = visible_contents(root)
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
        assert sorted(path.name for path in copy.iterdir()) == [TRACKER, TRAIN_STATE_TRACKER, "release"]
        assert_exported(tiny.hf, copy, tmp_path / f"{root.name}-hf")


@pytest.fixture(scope="module", params=["first release", "release replaced"])
def killed_writing(request, tiny, other, tmp_path_factory) -> tuple[dict[int, Path], dict[str, bytes]]:
    """What a real import leaves that is killed when so many bytes of its tensors are written; and the old.

    Everything up to the first byte is done once; from there a process of its own goes on for each number.
    """
    folder = tmp_path_factory.mktemp("killed_writing")
    root = folder / "root"
    if request.param == "release replaced":
        shutil.copytree(tiny.root, root)
    old = visible_contents(root) if root.exists() else {}
    size = sum(file.stat().st_size for file in (other.root / "release").glob("*.distcp"))
    left: dict[int, Path] = {}
    save = checkpoint.save

    def killed_saves(*arguments: Any, storage_writer: FileSystemWriter, **keywords: Any) -> Any:
        write_data = storage_writer.write_data

        def killed_writes(*plan: Any) -> Any:
            snapshot = Path(shutil.copytree(root, folder / "snapshot"))
            for written in (0, 1, *(size * eighths // 8 for eighths in range(1, 9))):

                def write_and_die() -> None:
                    torch.set_num_threads(1)
                    kill_when_written(written)
                    write_data(*plan)

                assert run_forked(write_and_die) == -signal.SIGKILL
                left[written] = Path(shutil.copytree(root, folder / f"left{written}"))
                _restore(root, snapshot)
            return write_data(*plan)

        storage_writer.write_data = killed_writes
        return save(*arguments, storage_writer=storage_writer, **keywords)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(checkpoint, "save", killed_saves)
        AutoBridge.import_ckpt(other.hf, root, release=True, overwrite=True)
    assert tree(root) == tree(other.root) and main(["check", str(root), "--deep", str(other.hf)]) == 0
    return left, old


def test_next_import_clears_up_after_a_kill_during_the_write(killed_writing, tiny):
    left, old = killed_writing
    assert left
    for written, root in left.items():
        assert sum(file.stat().st_size for file in root.glob(".release-staging-*/release/*.distcp")) == written
        assert visible_contents(root) == old and (root / ".release-lock").exists()
    for root in list(left.values())[::3]:
        AutoBridge.import_ckpt(tiny.hf, root, release=True, overwrite=True)
        assert sorted(path.name for path in root.iterdir()) == [TRACKER, TRAIN_STATE_TRACKER, "release"]
        assert tree(root) == tree(tiny.root) and main(["check", str(root), "--deep", str(tiny.hf)]) == 0


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
@pytest.mark.parametrize("number", [0, 3], ids="thread {}".format)
@pytest.mark.parametrize(("operation", "at"), [("write", 0), ("write", 32768), ("fsync", 0)])
def test_writer_thread_error_is_raised_and_checkpoint_is_kept(
    operation, at, number, error, tiny, other, tmp_path, monkeypatch
):
    shutil.copytree(tiny.root, tmp_path / "replaced")
    monkeypatch.setattr(os, operation, failing(operation, number, at, error))
    for root in (tmp_path / "replaced", tmp_path / "first"):
        before = visible_contents(root)
        with pytest.raises(OSError) as raised:
            AutoBridge.import_ckpt(other.hf, root, release=True, overwrite=True)
        assert raised.value.errno == error
        file = rf"{re.escape(str(root))}/\.release-staging-\w{{8}}/release/__0_{number}_[0-9a-f]{{8}}\.distcp"
        assert re.fullmatch(file, raised.value.filename)
        shown = "".join(traceback.format_exception(raised.value))
        assert shown.count(os.strerror(error)) == 1 and shown.count(raised.value.filename) == 1
        assert visible_contents(root) == before and not list(root.glob(".release-*"))
    assert not (tmp_path / "first").exists()


def test_failed_imports_leak_no_descriptors_threads_or_models(other, tmp_path, monkeypatch):
    """No descriptors, no threads and no models, one failure after the other."""

    def models() -> int:
        gc.collect()
        return sum(isinstance(thing, StreamedWeights | EntryFile) for thing in gc.get_objects())

    def left_by_a_failure() -> tuple[int, int, int]:
        with suppress(OSError):
            AutoBridge.import_ckpt(other.hf, tmp_path / "root", release=True)
        return models(), len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))

    before = models()  # what other tests hold

    monkeypatch.setattr(os, "write", failing("write", 1, 0, errno.ENOSPC))
    logging.disable()
    try:
        first, *others = [left_by_a_failure() for _ in range(4)]
    finally:
        logging.disable(logging.NOTSET)
    assert others[-1][0] <= before and others[-1][1] <= first[1] and others[-1][2] <= first[2] + 4
    assert not (tmp_path / "root").exists()


def test_import_is_complete_after_partial_writes(other, tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, memoryview(data)[:999]))
    AutoBridge.import_ckpt(other.hf, tmp_path / "root", release=True)
    assert main(["check", str(tmp_path / "root"), "--deep", str(other.hf)]) == 0


# Runs the command line on a disk that takes a twentieth of a second for each write of os.write's; Ctrl-C reaches it as it does
# in the foreground of a terminal, wherever these tests run.
SLOWLY = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
write = os.write
os.write = lambda descriptor, data: time.sleep(0.05) or write(descriptor, data)
from megatron.bridge.release.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [
        (signal.SIGINT, 130, "error: interrupted. Nothing was published; {root} is unchanged. Run the import again."),
        (signal.SIGTERM, 1, "error: terminated. Nothing was published; {root} is unchanged. Run the import again."),
    ],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_signal_during_write_prints_error_and_keeps_checkpoint(number, status, said, tiny, other, tmp_path):
    root = Path(shutil.copytree(tiny.root, tmp_path / "root"))
    before = visible_contents(root)
    with subprocess.Popen(
        [python(), "-W", "ignore", "-c", SLOWLY, "import", other.hf, root, "--overwrite"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        # The first bytes of either file: there is much to write yet.
        while not any(file.stat().st_size for file in root.glob(".release-staging-*/release/*.distcp")):
            assert process.poll() is None, process.stderr.read()
        process.send_signal(number)
        _, error = process.communicate(timeout=TIMEOUT)
    assert process.returncode == status
    assert error.splitlines() == [f"Importing {other.hf} into {root}", said.format(root=root)]
    assert visible_contents(root) == before and not list(root.glob(".release-*"))


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        RuntimeError("[/gloo/transport/tcp/pair.cc:547] Connection closed by peer"),
        OSError(5, "Input/output error"),
    ],
    ids=repr,
)
def test_import_error_states_whether_release_was_published(
    tiny, other, tmp_path, monkeypatch, error, overwrite, published
):
    root, commit = tmp_path / "root", Publication.commit
    if overwrite:
        shutil.copytree(tiny.root, root)
    before = visible_contents(root) if overwrite else {}

    def stopped(publication: Publication) -> None:
        if published:
            commit(publication)
        raise error

    monkeypatch.setattr(Publication, "commit", stopped)
    with pytest.raises(type(error)) as raised:
        AutoBridge.import_ckpt(other.hf, root, release=True, overwrite=overwrite)
    said = " ".join([str(raised.value), *getattr(raised.value, "__notes__", [])])
    assert (f"{root} is unchanged" in said) != published
    assert ("is complete and was published" in said) == (published and not isinstance(error, OSError))
    assert (visible_contents(root) if root.exists() else {}) == before or published
    assert not published or check(root).passed
