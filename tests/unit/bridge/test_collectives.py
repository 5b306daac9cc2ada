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

"""Ranks share results and errors; of several ranks, the functional tests tell."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch.distributed as dist

from megatron.bridge.training.utils import collectives
from megatron.bridge.training.utils.collectives import all_gather_object, on_rank_0, picklable_error, run_on_all_ranks


class _NotForPickle(Exception):
    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} {other}")


class _Speechless(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")

    def __reduce__(self):
        raise TypeError("not for pickle")


@pytest.fixture(params=["no process group", "a group of one"], autouse=True)
def group(request) -> Iterator[None]:
    if request.param == "no process group":
        yield
        return
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("run", [on_rank_0, run_on_all_ranks])
def test_collectives_return_result_or_raise_error(run):
    assert run(lambda: 3) == 3
    assert run(lambda: None) is None
    with pytest.raises(KeyError, match="missing"):
        run(lambda: {}["missing"])


def test_error_note_shows_failing_rank(monkeypatch):
    monkeypatch.setattr(collectives, "all_gather_object", lambda failure: [failure, KeyError("missing"), OSError()])
    monkeypatch.setattr(collectives, "_has_other_ranks", lambda: True)
    with pytest.raises(KeyError) as caught:
        run_on_all_ranks(lambda: None)
    assert caught.value.__notes__ == ["The error is from rank 1."]
    monkeypatch.undo()
    with pytest.raises(KeyError) as caught:
        run_on_all_ranks(lambda: {}["missing"])
    assert not hasattr(caught.value, "__notes__")


def test_all_gather_object_returns_list_on_single_rank():
    assert all_gather_object("mine") == ["mine"]


def test_unpicklable_error_becomes_runtime_error_with_text():
    kept, replacement = OSError(28, "No space left on device"), picklable_error(_NotForPickle("not", "so"))
    assert picklable_error(kept) is kept
    assert type(replacement) is RuntimeError and str(replacement) == "_NotForPickle: not so"
    assert str(picklable_error(_Speechless())) == "_Speechless"


# For each case, two ranks whose default group waits for a second, and a rank 0 that works for longer. They are forked
# from a process that has loaded the module alone.
RANKS = """
import importlib.util, os, signal, sys, time
from datetime import timedelta
import torch.distributed as dist
spec = importlib.util.spec_from_file_location("collectives", sys.argv[1])
collectives = importlib.util.module_from_spec(spec)
spec.loader.exec_module(collectives)
# Python does not install it if the parent process ignores the signal, as for a job in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)

def work(case):
    time.sleep(2.5)
    if case == "interrupt":
        os.kill(os.getpid(), signal.SIGINT)
    if case == "exit":
        raise SystemExit("terminated")
    if case == "die":
        os._exit(9)
    return "done"

def run(case, rank):
    store = dist.FileStore(os.path.join(sys.argv[2], case), 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=timedelta(seconds=1))
    begin, said = time.monotonic(), [case, rank]
    try:
        if case == "signal" and rank == 1:
            signal.signal(signal.SIGALRM, lambda *_: said.append(time.monotonic() < begin + 2))
            signal.setitimer(signal.ITIMER_REAL, 0.5)
        said.append(collectives.on_rank_0(lambda: work(case)))
        said += collectives.all_gather_object(collectives.run_on_all_ranks(lambda: (time.sleep(2 * rank), rank)[1]))
    except BaseException as error:
        said += [type(error).__name__, *(error.args if isinstance(error, SystemExit) else [])]
    os.write(1, (" ".join(map(str, said)) + chr(10)).encode())

ranks = []
for case in ("work", "signal", "interrupt", "exit", "die"):
    for rank in range(2):
        ranks.append(os.fork())
        if not ranks[-1]:
            run(case, rank)
            os._exit(0)
for rank in ranks:
    os.waitpid(rank, 0)
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory) -> list[str]:
    command = [sys.executable, "-c", RANKS, collectives.__file__, str(tmp_path_factory.mktemp("stores"))]
    return sorted(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines())


# Its ranks have process groups of their own.
@pytest.mark.parametrize("group", ["no process group"], indirect=True)
def test_ranks_wait_for_rank_0_and_receive_outcome(said):
    assert said == [
        "die 1 RuntimeError",
        "exit 0 SystemExit terminated",
        "exit 1 SystemExit terminated",
        "interrupt 0 KeyboardInterrupt",
        "interrupt 1 KeyboardInterrupt",
        "signal 0 done 0 1",
        "signal 1 True done 0 1",
        "work 0 done 0 1",
        "work 1 done 0 1",
    ]
