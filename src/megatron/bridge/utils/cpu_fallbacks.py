# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Replacements for CUDA calls of Megatron Core and Bridge, for hosts without CUDA and for computing on the CPU."""

import functools
import queue
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any, ParamSpec, TypeVar
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode

from megatron.bridge.release.compat.megatron_core_api import RESULTS_QUEUE, CudaRNGStatesTracker, core_writer
from megatron.bridge.utils.common_utils import get_local_rank_preinit  # type: ignore[attr-defined,unused-ignore]


P = ParamSpec("P")
R = TypeVar("R")


def distributed_backend() -> str:
    """Return the torch.distributed backend for this host: ``nccl`` with CUDA, else ``gloo``."""
    return "nccl" if torch.cuda.is_available() else "gloo"


def set_local_device() -> None:
    """Make the local rank's CUDA device the current one. Does nothing without CUDA."""
    if torch.cuda.is_available():
        torch.cuda.set_device(get_local_rank_preinit())


def _stay(tensor: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    """Replace `torch.Tensor.cuda`."""
    return tensor


def keep_on_cpu(build: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function that builds a model: without CUDA, tensors stay on the CPU."""

    @functools.wraps(build)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with nullcontext() if torch.cuda.is_available() else computing_on_cpu():
            return build(*args, **kwargs)

    return wrapper


@contextmanager
def checkpointing_without_cuda() -> Iterator[None]:
    """Save torch_dist checkpoints with Megatron Core's own writer on a host without CUDA. Does nothing with CUDA.

    That writer synchronizes with a device, and returns its results through a queue of a process that it starts with
    *spawn*, which would run a script without a ``__main__`` guard again. A synchronous save writes from threads of this
    process, for which a queue of this process works. Releases have their own writer, which needs none of this.
    """
    if torch.cuda.is_available():
        yield
        return
    with ExitStack() as replacements:
        replacements.enter_context(mock.patch.object(torch.cuda, "synchronize", lambda device=None: None))
        replacements.enter_context(mock.patch.object(torch.cuda, "current_device", lambda: "cpu"))
        if (writer := core_writer()) is not None:
            replacements.enter_context(mock.patch.object(writer, RESULTS_QUEUE, queue.Queue()))
        yield


class _CpuDevices(TorchFunctionMode):
    """Replaces ``device="cuda"`` by the CPU."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if str(kwargs.get("device")).startswith("cuda"):
            kwargs["device"] = "cpu"
        return func(*args, **kwargs)


@contextmanager
def computing_on_cpu() -> Iterator[None]:
    """Build and run a model of Megatron Core on the CPU, on any host: replace its calls of CUDA that no option avoids."""
    with (
        mock.patch.object(torch.cuda, "current_device", lambda: "cpu"),
        mock.patch.object(torch.cuda, "get_device_properties", lambda device=None: SimpleNamespace(major=9, minor=0)),
        mock.patch.object(torch.Tensor, "cuda", _stay),
        # It switches between CUDA generators for dropout, which is not used.
        mock.patch.object(CudaRNGStatesTracker, "fork", lambda self, name="": nullcontext()),
        _CpuDevices(),
    ):
        yield
