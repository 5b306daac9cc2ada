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

"""Stand-ins that let Megatron-LM, of any version, run on the CPU, with CUDA on the host or without it."""

from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Iterator
from unittest import mock

import torch
from megatron.core.tensor_parallel.random import CudaRNGStatesTracker
from torch.overrides import TorchFunctionMode


# On the CPU everything runs in one order, which nothing has to wait for.
_STREAM = SimpleNamespace(wait_stream=lambda stream: None, synchronize=lambda: None)


class _CpuForCuda(TorchFunctionMode):
    """Answers ``device="cuda"`` with the CPU."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if str(kwargs.get("device")).startswith("cuda"):
            kwargs["device"] = "cpu"
        return func(*args, **kwargs)


@contextmanager
def on_the_cpu() -> Iterator[None]:
    """Let Megatron-LM run as on a host without CUDA, and answer what asks for a device with the CPU."""
    with (
        mock.patch.object(torch.cuda, "is_available", lambda: False),
        mock.patch.object(torch.cuda, "device_count", lambda: 0),
        mock.patch.object(torch.cuda, "current_device", lambda: "cpu"),
        mock.patch.object(torch.cuda, "synchronize", lambda device=None: None),
        mock.patch.object(torch.Tensor, "cuda", lambda self, *_, **__: self),
        mock.patch.object(torch.cuda, "get_device_properties", lambda device=None: SimpleNamespace(major=9, minor=0)),
        mock.patch.object(torch.cuda, "get_rng_state", lambda device="cuda": torch.get_rng_state()),
        mock.patch.object(torch.cuda, "Stream", lambda *_, **__: _STREAM),
        mock.patch.object(torch.cuda, "current_stream", lambda device=None: _STREAM),
        mock.patch.object(torch.cuda, "stream", lambda stream: nullcontext()),
        # The tracker switches CUDA generators for dropout, which the models here have none of.
        mock.patch.object(CudaRNGStatesTracker, "fork", lambda self, name="": nullcontext()),
        _CpuForCuda(),
    ):
        yield
