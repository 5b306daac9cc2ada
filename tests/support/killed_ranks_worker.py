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

"""Imports on two ranks, again and again, and each time something else happens to one of them.

    OMP_NUM_THREADS=1 python killed_ranks_worker.py HF_MODEL OLD_ROOT OUT

Rank 0, which replaces a copy of OLD_ROOT, is killed before operations of its publication (`faults.chosen`); at last it is
not killed.
Rank 1 is killed at moments that are named below, or fails, while the first release of a root is written. All import
to OUT/root, so that what they write is alike; OUT/<what happened> is what they leave. OUT/ends.json says how each
rank ended.

The ranks are forked from one process, which has imported everything and has computed nothing.
"""

import functools
import json
import os
import resource
import shutil
import signal
import sys
from pathlib import Path
from typing import Any, Callable

from faults import Stepping, chosen, kill_when_written
from forked_ranks import run_forked

from megatron.bridge import AutoBridge
from megatron.bridge.release.write import save as saving
from megatron.bridge.release.write.publish import Publication
from megatron.bridge.release.write.writer import ReleaseSaveStrategy


TIMEOUT = 600


def kill(*_: Any, **__: Any) -> None:
    """End this process as the kernel does when memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at(step: int) -> None:
    """Kill this process when it comes to a step of publishing."""
    stepping = Stepping(lambda number, *_: kill() if number == step else None)
    saving.Publication = functools.partial(Publication, filesystem=stepping)


def write_names(file: Path) -> None:
    """Write the names of the steps of publishing, as far as they have come."""
    stepping = Stepping(lambda *_: file.write_text(json.dumps(stepping.names)))
    saving.Publication = functools.partial(Publication, filesystem=stepping)


def kill_before_saving() -> None:
    """Kill this process before it saves anything."""
    ReleaseSaveStrategy.save = kill


def kill_while_writing() -> None:
    """Kill this process with a part of its weights in its files."""
    kill_when_written(65536)


def kill_before_publishing() -> None:
    """Kill this process when all is written and rank 0 goes on to publish it."""
    on_rank_0 = saving.on_rank_0

    def kill_or_go_on(action: Callable) -> Any:
        return kill() if action.__name__ == "commit" else on_rank_0(action)

    saving.on_rank_0 = kill_or_go_on


def write_small_files_only() -> None:
    """Let the kernel refuse this process what it writes beyond 32 KiB of a file."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (32768, 32768))


RANK_1 = (kill_before_saving, kill_while_writing, kill_before_publishing, write_small_files_only)


def run_rank(rank: int, hf: str, root: Path, happens: Callable[[], None]) -> None:
    """Import as one of the ranks, and leave what went wrong in a file."""
    signal.alarm(TIMEOUT)
    try:
        happens()
        AutoBridge.import_ckpt(hf, root, release=True, overwrite=True)
    except BaseException as error:
        _error_file(root, rank).write_text(f"{type(error).__name__}: {error}")
        raise


def _error_file(root: Path, rank: int) -> Path:
    return root.with_name(f"error{rank}")


def run_ranks(hf: str, root: Path, happens: dict[int, Callable[[], None]]) -> dict[str, list]:
    """Import on two ranks, to one of which something happens; tell how both ended."""
    for rank in (0, 1):
        _error_file(root, rank).unlink(missing_ok=True)
    statuses = run_forked(2, lambda rank: run_rank(rank, hf, root, happens.get(rank, lambda: None)))
    files = [_error_file(root, rank) for rank in (0, 1)]
    return {"statuses": statuses, "errors": [file.read_text() if file.exists() else None for file in files]}


def main() -> None:
    """Go through all that happens; rank 0 has no more operations when it is not killed."""
    hf, old, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    root, ends = out / "root", {}
    for happens in RANK_1:
        ends[happens.__name__] = run_ranks(hf, root, {1: happens})
        if root.exists():
            root.rename(out / happens.__name__)
    shutil.copytree(old, root)
    whole = run_ranks(hf, root, {0: lambda: write_names(out / "names.json")})
    root.rename(out / "whole")
    # Every operation is two steps; after one of them all is as it is before the next.
    for operation in chosen(json.loads((out / "names.json").read_text())[::2]):
        shutil.copytree(old, root)
        ends[str(operation)] = run_ranks(hf, root, {0: lambda: kill_at(2 * operation)})
        root.rename(out / str(operation))
    ends["whole"] = whole
    (out / "ends.json").write_text(json.dumps(ends))


main()
