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

"""Runs the workers of this folder, each in processes of its own, as on a host without CUDA.

A worker is for what must not happen in the tests' own process: several ranks, a death, another megatron-core. To add
one, write a script `tests/support/<what>_worker.py`:

1. Its docstring begins with what it does, and how it is called; what it writes into which file, below.
2. It takes its arguments from `sys.argv`, folders made by the test among them, and writes what the test is to look at
   into one of these, as JSON or as a checkpoint. It asserts nothing: what differs is the test's to judge.
3. It ends with an exit status other than 0 only where it could not do its work; `run_worker` shows what it said then.
4. Ranks are torchrun's (`run_worker(..., ranks=2)`), or `forked_ranks.run_forked`'s, where there are many runs. These
   need OMP_NUM_THREADS=1, and nothing computed before.
5. A fixture of `scope="session"`, or of the one file that needs it, calls `run_worker` once, and the tests look at
   what there is.
6. Name it in the index, the docstring of tests/support/__init__.py.
"""

import os
import subprocess
import sys
from pathlib import Path


SUPPORT = Path(__file__).parent
# The variable that names the directory of programs that start fast, where a session has them (`warm`).
WARM = "WARM_PROGRAMS"
WITHOUT_CUDA = {"CUDA_VISIBLE_DEVICES": ""}
# Only a process that hangs takes so many seconds, even on a slow host under load.
TIMEOUT = 1800
EXAMPLES = SUPPORT.parents[1] / "examples"


def programs() -> str:
    """The start of a PATH: the directory of the programs, where a session has started them, and this environment's."""
    return ":".join([*filter(None, [os.environ.get(WARM)]), str(Path(sys.executable).parent)])


def python() -> str:
    """The Python to start in place of `sys.executable`."""
    return f"{os.environ[WARM]}/python" if WARM in os.environ else sys.executable


def run_worker(name: str, *words: object, ranks: int = 0, anew: bool = False, **environment: str) -> None:
    """Run a worker to its end, and fail with what it said where it fails.

    It sees no CUDA: its ranks may be more than the host has devices, and NCCL takes no two of one device.

    Args:
        name: Its file, without the suffix.
        *words: Its arguments.
        ranks: How many ranks torchrun starts of it; none where it starts them itself, or needs none.
        anew: Start it as a new Python, because it imports other modules, or imports with other variables. Else it is
            a fork of a process that has imported Bridge (`warm`).
        **environment: Variables beyond this process's.
    """
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)] if ranks else []
    run = subprocess.run(
        [
            sys.executable if anew else python(),
            "-W",
            "ignore",
            *torchrun,
            str(SUPPORT / f"{name}.py"),
            *map(str, words),
        ],
        env=os.environ | WITHOUT_CUDA | environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
