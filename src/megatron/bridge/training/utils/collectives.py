# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Collectives that propagate results and exceptions to all ranks, so that none waits for one that has failed."""

import pickle
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

import torch.distributed as dist


T = TypeVar("T")

# Rank 0 may remove, sync or hash terabytes while the others wait; NCCL times out after 10 minutes, gloo after 30. If a
# rank dies, its connections close and the wait ends at once.
_LONGEST_WAIT = timedelta(days=7)
_POLL_SECONDS = 0.01
_UNTIMED_GROUPS: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


def on_rank_0(action: Callable[[], T]) -> T:
    """Run an action on rank 0; return its result or raise its error on every rank. Collective, without a timeout.

    Ranks must not decide from a shared filesystem: some may still see its previous state.

    Args:
        action: The action. Its result and its error are pickled.
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
    """Run a local action on every rank, and return its result on this one. Collective, without a timeout.

    Raises:
        BaseException: The first error of a rank, on every rank. A note names the rank.
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


def all_gather_object(value: T) -> list[T]:
    """Return the objects of all ranks, in their order. Collective, without a timeout. Objects are pickled."""
    if not _has_other_ranks():
        return [value]
    group = untimed_group()
    values: list[Any] = [None] * dist.get_world_size()
    _wait_for_all(group)
    dist.all_gather_object(values, value, group=group)
    return values


def untimed_group() -> Any:
    """Return a process group of all ranks that does not time out; None for a single rank. Collective."""
    if not _has_other_ranks():
        return None
    world = dist.group.WORLD
    if world not in _UNTIMED_GROUPS:
        _UNTIMED_GROUPS[world] = dist.new_group(backend="gloo", timeout=_LONGEST_WAIT)
    return _UNTIMED_GROUPS[world]


def _has_other_ranks() -> bool:
    return dist.is_initialized() and dist.get_world_size() > 1


def _wait_for_all(group: Any) -> None:
    """Wait for all ranks. Unlike in a collective, this process handles signals meanwhile."""
    barrier = dist.barrier(group=group, async_op=True)
    while not barrier.is_completed():
        time.sleep(_POLL_SECONDS)
    barrier.wait()


def picklable_error(error: BaseException) -> BaseException:
    """Return an error, or a RuntimeError with its text if it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:
        try:
            return RuntimeError(f"{type(error).__name__}: {error}")
        except Exception:
            # str() of the error fails, but the other ranks wait for an answer.
            return RuntimeError(type(error).__name__)
