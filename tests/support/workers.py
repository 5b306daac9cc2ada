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

"""Runs the workers of this folder, each in processes of its own, as on a host without CUDA."""

import os
import subprocess
import sys
from pathlib import Path


SUPPORT = Path(__file__).parent
WITHOUT_CUDA = {"CUDA_VISIBLE_DEVICES": ""}
EXAMPLES = SUPPORT.parents[1] / "examples"


def run_worker(name: str, *words: object, ranks: int = 0, **environment: str) -> None:
    """Run a worker to its end, and fail with what it said where it fails.

    It sees no CUDA: its ranks may be more than the host has devices, and NCCL takes no two of one device.

    Args:
        name: Its file, without the suffix.
        *words: Its arguments.
        ranks: How many ranks torchrun starts of it; none where it starts them itself, or needs none.
        **environment: Variables beyond this process's.
    """
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)] if ranks else []
    run = subprocess.run(
        [sys.executable, "-W", "ignore", *torchrun, str(SUPPORT / f"{name}.py"), *map(str, words)],
        env=os.environ | WITHOUT_CUDA | environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
