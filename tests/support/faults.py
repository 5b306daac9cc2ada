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

"""Faults for tests: a filesystem for publishing to kill, to fail and to lose power at every operation, and writes.

A fault in what writes the tensors is one of ``os.write`` and ``os.fsync``, told by the name of the file.
"""

import errno
import gc
import os
import re
import signal
import threading
from pathlib import Path
from typing import Any, Callable

from megatron.bridge.release.write.filesystem import Filesystem


# What seeds the choice of the operations that a sweep tries: a number, or "all" of them.
SEED = os.environ.get("CRASH_SEED", "all")
_EVERY = 5
OPERATIONS = [name for name, value in vars(Filesystem).items() if callable(value)]


class Stepping(Filesystem):
    """Calls `step(number, operation, done)` before and after every operation, counted together from 0."""

    def __init__(self, step: Callable[[int, str, bool], None], exchanges: bool = True) -> None:
        self._step, self._exchanges = step, exchanges
        self.names: list[str] = []

    @property
    def steps(self) -> int:
        """How many steps there have been."""
        return len(self.names)

    def _take_step(self, name: str, done: bool) -> None:
        self.names.append(name)
        self._step(self.steps - 1, name, done)


def chosen(names: list[str]) -> list[int]:
    """Choose the steps that a sweep tries: all of them, or the first, the last, those of renames and every fifth.

    Args:
        names: The operation of each step.
    """
    if SEED == "all":
        return [*range(len(names))]
    always = {0, len(names) - 1, *(step for step, name in enumerate(names) if name in ("rename", "exchange"))}
    return sorted(always | {*range(int(SEED) % _EVERY, len(names), _EVERY)})


def _stepping(name: str) -> Callable:
    def operation(self, *arguments):
        self._take_step(name, False)
        if name == "exchange" and not self._exchanges:
            raise OSError(errno.EINVAL, "this filesystem cannot exchange")
        result = getattr(Filesystem, name)(self, *arguments)
        self._take_step(name, True)
        return result

    return operation


for _name in OPERATIONS:
    setattr(Stepping, _name, _stepping(_name))


class LosingPower(Stepping):
    """Keeps, beside the real folder, what a disk has for certain: synced bytes, and names of synced folders.

    `states` has what that is before and after every operation; what is in the root at first counts as synced.
    """

    def __init__(self, root: Path, exchanges: bool = True) -> None:
        super().__init__(self._note, exchanges)
        self._root = root.stat().st_ino
        self._bytes: dict[int, bytes] = {}
        self._entries: dict[int, dict[str, int]] = {}
        self.states: list[tuple[dict, dict]] = []
        for path in (root, *root.rglob("*")):
            self._synced(path)

    def _note(self, *_: object) -> None:
        self.states.append((dict(self._bytes), {folder: dict(names) for folder, names in self._entries.items()}))

    def _synced(self, path: Path) -> None:
        inode = path.stat().st_ino
        if path.is_dir():
            self._entries[inode] = {child.name: child.lstat().st_ino for child in path.iterdir()}
        else:
            self._bytes[inode] = path.read_bytes()

    def sync(self, path: Path) -> None:
        """Sync it in the model, too."""
        super().sync(path)
        self._synced(path)

    def make_own_folder(self, root: Path, prefix: str) -> Path:
        """Have an empty folder in the model, too."""
        folder = super().make_own_folder(root, prefix)
        self._synced(folder)
        return folder

    def restore(self, state: tuple[dict, dict], to: Path) -> None:
        """Write what is left after the power is back; a file that was never synced is empty."""
        self._restore(state, self._root, to, {})

    def _restore(self, state: tuple[dict, dict], inode: int, to: Path, written: dict[int, Path]) -> None:
        contents, entries = state
        to.mkdir(parents=True)
        for name, child in entries[inode].items():
            if child in entries:
                self._restore(state, child, to / name, written)
            elif child in written:
                os.link(written[child], to / name)
            else:
                (to / name).write_bytes(contents.get(child, b""))
                written[child] = to / name


def killed_at(step: int, publish: Callable[[Stepping], None], exchanges: bool = True) -> bool:
    """Publish in a process of its own, which kills itself before or after an operation; tell whether it came to it."""

    def kill(number: int, *_) -> None:
        if number == step:
            os.kill(os.getpid(), signal.SIGKILL)

    return run_forked(lambda: publish(Stepping(kill, exchanges))) == -signal.SIGKILL


def run_forked(action: Callable[[], object]) -> int:
    """Run something in a process of its own, which has ten minutes for it; give its exit status, or minus its signal."""
    child = os.fork()
    if not child:
        try:
            # Garbage may own threads, which a fork has not: to collect it is to crash.
            gc.disable()
            signal.alarm(600)
            action()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _file_of(descriptor: int) -> str:
    return Path(os.readlink(f"/proc/self/fd/{descriptor}")).name


def kill_when_written(size: int) -> None:
    """Let this process kill itself when its threads have written so many bytes of tensors, and none more.

    Where they write no more than that, it is before the last file is synced.
    """
    write, fsync = os.write, os.fsync
    lock, written = threading.Lock(), 0

    def write_and_kill(descriptor: int, data: Any) -> int:
        nonlocal written
        if not _file_of(descriptor).endswith(".distcp"):
            return write(descriptor, data)
        with lock:
            here = memoryview(data)[: size - written]
            written += write(descriptor, here)
            if len(here) < len(data):
                os.kill(os.getpid(), signal.SIGKILL)
            return len(here)

    def fsync_or_kill(descriptor: int) -> None:
        with lock:
            if written == size and _file_of(descriptor).endswith(".distcp"):
                os.kill(os.getpid(), signal.SIGKILL)
        fsync(descriptor)

    os.write, os.fsync = write_and_kill, fsync_or_kill


def failing(operation: str, number: int, at: int, error: int) -> Callable[..., Any]:
    """Give an ``os.write`` or ``os.fsync`` that fails.

    Args:
        operation: Which of the two.
        number: The number of the file of tensors, of rank 0's, for which it fails.
        at: How many bytes that file has then.
        error: The error's number.
    """
    real, name = getattr(os, operation), re.compile(rf"__0_{number}_[0-9a-f]{{8}}\.distcp")

    def fail(descriptor: int, *data: Any) -> Any:
        if name.fullmatch(_file_of(descriptor)):
            size = os.fstat(descriptor).st_size
            if size >= at:
                raise OSError(error, os.strerror(error))
            # As a disk does that is nearly full: it takes what there is room for.
            data = tuple(memoryview(one)[: at - size] for one in data)
        return real(descriptor, *data)

    return fail
