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

"""Actions whose results and errors all ranks of a job share, so that none waits for one that has stopped."""

import pickle
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

import torch.distributed as dist


T = TypeVar("T")

# Rank 0 may remove, sync or hash terabytes while the others wait: NCCL ends a wait after 10 minutes, gloo after 30. A
# rank that dies closes its connections, which ends the wait at once.
_LONGEST_WAIT = timedelta(days=7)
_POLL_SECONDS = 0.01
_WAITING_GROUPS: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


def on_rank_0(action: Callable[[], T]) -> T:
    """Run ``action`` on rank 0, and return its result or raise its error on every rank.

    The ranks of a job must not decide from what each of them sees of a shared filesystem: one of them
    may still see the previous tracker. Collective where torch.distributed is initialized.

    Args:
        action: What rank 0 runs, however long it takes. Its result is sent with pickle.

    Returns:
        What ``action`` returned on rank 0.

    Raises:
        BaseException: What ``action`` raised on rank 0, on every rank.
    """
    if not _has_other_ranks():
        return action()
    group = untimed_group()
    outcome: list[Any] = [None, None]
    if dist.get_rank() == 0:
        try:
            outcome[0] = action()
        except BaseException as error:
            outcome[1] = picklable_error(error)
    _wait_for_all(group)
    dist.broadcast_object_list(outcome, src=0, group=group)
    if outcome[1] is not None:
        raise outcome[1]
    return cast(T, outcome[0])


def run_on_all_ranks(action: Callable[[], T]) -> T:
    """Run what needs no other rank on every rank. Collective where torch.distributed is initialized.

    Args:
        action: What to run, however long it takes.

    Returns:
        What it returns on this rank.

    Raises:
        BaseException: The error of the first rank that has one, on all of them. A note names the rank.
    """
    result, failure = None, None
    try:
        result = action()
    except BaseException as error:
        failure = picklable_error(error)
    for rank, rank_error in enumerate(all_gather_object(failure)):
        if rank_error is not None:
            if _has_other_ranks():
                rank_error.add_note(f"The error is from rank {rank}.")
            raise rank_error
    return cast(T, result)


def all_gather_object(mine: T) -> list[T]:
    """Return what each rank gives, on every rank. Collective where torch.distributed is initialized.

    Args:
        mine: What this rank gives. It is sent with pickle.

    Returns:
        What the ranks gave, in their order.
    """
    if not _has_other_ranks():
        return [mine]
    group = untimed_group()
    ranks: list[Any] = [None] * dist.get_world_size()
    _wait_for_all(group)
    dist.all_gather_object(ranks, mine, group=group)
    return ranks


def untimed_group() -> Any:
    """Return the group of all ranks whose waits do not time out; None, the default one, of a single rank. Collective."""
    if not _has_other_ranks():
        return None
    world = dist.group.WORLD
    if world not in _WAITING_GROUPS:
        _WAITING_GROUPS[world] = dist.new_group(backend="gloo", timeout=_LONGEST_WAIT)
    return _WAITING_GROUPS[world]


def _has_other_ranks() -> bool:
    return dist.is_initialized() and dist.get_world_size() > 1


def _wait_for_all(group: Any) -> None:
    """Wait until every rank is here; unlike in a collective, this process handles its signals meanwhile."""
    barrier = dist.barrier(group=group, async_op=True)
    while not barrier.is_completed():
        time.sleep(_POLL_SECONDS)
    barrier.wait()


def picklable_error(error: BaseException) -> BaseException:
    """Return an error that can be sent to other ranks.

    Args:
        error: The error.

    Returns:
        The error itself; a RuntimeError with its text where it cannot be pickled.
    """
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:
        try:
            return RuntimeError(f"{type(error).__name__}: {error}")
        except Exception:
            # The other ranks wait for an answer, whatever the error says of itself.
            return RuntimeError(type(error).__name__)
