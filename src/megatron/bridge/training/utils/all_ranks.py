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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch.distributed as dist


T = TypeVar("T")


@contextmanager
def unlimited_group() -> Iterator[dist.ProcessGroup | None]:
    """Make a group of all ranks that waits for an action of any length, such as a download. Collective.

    Yields:
        The group; None if torch.distributed is not initialized.
    """
    if not dist.is_initialized():
        yield None
        return
    # NCCL's watchdog ends a job whose ranks wait for ten minutes. Gloo notices a rank that has died.
    group: Any = dist.new_group(backend="gloo", timeout=timedelta(days=30))
    try:
        yield group
    finally:
        dist.destroy_process_group(group)


def on_rank_0(action: Callable[[], T], group: dist.ProcessGroup | None = None) -> T:
    """Run ``action`` on rank 0, and return its result or raise its error on every rank.

    The ranks of a job must not decide from what each of them sees of a shared filesystem: one of them
    may still see the previous tracker. Collective where torch.distributed is initialized.

    Args:
        action: What rank 0 runs. Its result is sent with pickle.
        group: Group of all ranks; None for the default group.

    Returns:
        What ``action`` returned on rank 0.

    Raises:
        Exception: What ``action`` raised on rank 0, on every rank.
    """
    if not dist.is_initialized():
        return action()

    outcome: list[Any] = [None, None]
    if dist.get_rank() == 0:
        try:
            outcome[0] = action()
        except Exception as error:
            outcome[1] = sendable(error)
    dist.broadcast_object_list(outcome, src=0, group=group)
    if outcome[1] is not None:
        raise outcome[1]
    return cast(T, outcome[0])


def together(action: Callable[[], T], group: dist.ProcessGroup | None = None) -> T:
    """Run what needs no other rank on every rank. Collective where torch.distributed is initialized.

    Args:
        action: What to run.
        group: Group of all ranks; None for the default group.

    Returns:
        What it returns on this rank.

    Raises:
        Exception: The first rank's error, on all of them.
    """
    result, failure = None, None
    try:
        result = action()
    except Exception as error:
        failure = sendable(error)
    for other in gather(failure, group):
        if other is not None:
            raise other
    return cast(T, result)


def gather(mine: T, group: dist.ProcessGroup | None = None) -> list[T]:
    """Return what each rank gives, on every rank. Collective where torch.distributed is initialized.

    Args:
        mine: What this rank gives. It is sent with pickle.
        group: Group of all ranks; None for the default group.

    Returns:
        What the ranks gave, in their order.
    """
    if not dist.is_initialized():
        return [mine]
    ranks: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(ranks, mine, group=group)
    return ranks


def sendable(error: BaseException) -> BaseException:
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
