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

"""Stand-ins for what Megatron Core and Bridge ask of CUDA, on a host that has none."""

import functools
import importlib
import queue
from contextlib import ExitStack, contextmanager
from typing import Any, Callable, Iterator, ParamSpec, TypeVar

import torch

from megatron.bridge.utils.common_utils import get_local_rank_preinit  # type: ignore[attr-defined,unused-ignore]


P = ParamSpec("P")
R = TypeVar("R")


def distributed_backend() -> str:
    """Return the torch.distributed backend for this host: ``nccl`` with CUDA, else ``gloo``."""
    return "nccl" if torch.cuda.is_available() else "gloo"


def set_local_device() -> None:
    """Make the local rank's CUDA device the current one, where there is CUDA."""
    if torch.cuda.is_available():
        torch.cuda.set_device(get_local_rank_preinit())


def builds_without_cuda(build: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function that builds a model so that a host without CUDA keeps a tied embedding where it is.

    Between pipeline stages Megatron Core moves it to a device first, and then sums it over the process group, which
    gloo does on the CPU.

    Args:
        build: The function.

    Returns:
        The decorated function. With CUDA, it is called as it is.
    """

    @functools.wraps(build)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        if torch.cuda.is_available():
            return build(*args, **kwargs)
        with _replaced(torch.Tensor, "cuda", lambda self, *_, **__: self):
            return build(*args, **kwargs)

    return wrapper


@contextmanager
def checkpointing_without_cuda() -> Iterator[None]:
    """Let Megatron Core's own writer write torch_dist checkpoints on a host without CUDA.

    It serves saves that are no release: a release's own writer asks for no device. Megatron
    Core's writer synchronizes with a device and puts a flag on it, and it hands its results over in a
    queue of another process, which it starts with *spawn*: a plain script that has no ``__main__``
    guard would run itself again. On such a host there is no device, and a synchronous save writes from
    threads of this process, for which a queue of this process serves. With CUDA this does nothing.
    """
    if torch.cuda.is_available():
        yield
        return
    with ExitStack() as stand_ins:
        stand_ins.enter_context(_replaced(torch.cuda, "synchronize", lambda device=None: None))
        stand_ins.enter_context(_replaced(torch.cuda, "current_device", lambda: "cpu"))
        if (writer := _core_writer()) is not None:
            stand_ins.enter_context(_replaced(writer, "_results_queue", queue.Queue()))
        yield


def _core_writer() -> Any:
    """Return the module of Megatron Core's writer; None in versions that use another package's."""
    try:
        return importlib.import_module("megatron.core.dist_checkpointing.strategies.filesystem_async")
    except ModuleNotFoundError:
        return None


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Let an attribute of torch's or of Megatron Core's be another one meanwhile."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
