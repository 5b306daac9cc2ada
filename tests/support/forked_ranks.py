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

"""Ranks that are forked from this process, which has imported everything and has computed nothing."""

import os
import socket
import traceback
from collections.abc import Callable


def run_forked(ranks: int, work: Callable[[int], None]) -> list[int]:
    """Run something on several ranks, each a process of its own, to their ends.

    Args:
        ranks: How many.
        work: What each does, given its number.

    Returns:
        How each ended: 0, 1 where it raised an error, or the signal that killed it, below 0.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for rank in range(ranks):
        process = os.fork()
        if not process:
            _run_rank(rank, ranks, port, work)
        processes.append(process)
    return [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]


def _run_rank(rank: int, ranks: int, port: int, work: Callable[[int], None]) -> None:
    """Work as one of several ranks, and end."""
    os.environ |= {"WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks)}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    status = 1
    try:
        work(rank)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)
