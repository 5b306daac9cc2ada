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

"""Tests of cpu_fallbacks: CUDA calls are replaced on hosts without CUDA, and restored."""

import sys

import pytest
import torch
import torch.distributed as dist
from megatron.core.dist_checkpointing.strategies import filesystem_async
from megatron.core.tensor_parallel.random import CudaRNGStatesTracker

from megatron.bridge.utils import cpu_fallbacks


@pytest.mark.parametrize(("cuda", "backend"), [(True, "nccl"), (False, "gloo")])
def test_backend_is_nccl_with_cuda_and_gloo_without(cuda, backend, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    assert cpu_fallbacks.distributed_backend() == backend


def test_backend_reduces_tensors_of_this_host():
    dist.init_process_group(cpu_fallbacks.distributed_backend(), store=dist.HashStore(), rank=0, world_size=1)
    try:
        tensor = torch.full((3,), 2.0, device="cuda" if torch.cuda.is_available() else "cpu")
        dist.all_reduce(tensor)
        assert tensor.tolist() == [2.0, 2.0, 2.0]
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize(("cuda", "devices"), [(True, [3]), (False, [])])
def test_local_device_is_set_only_with_cuda(cuda, devices, monkeypatch):
    seen = []
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "set_device", seen.append)
    cpu_fallbacks.set_local_device()
    assert seen == devices


def test_tensors_stay_on_the_cpu_during_a_build(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    before = torch.Tensor.cuda
    built = cpu_fallbacks.keep_on_cpu(lambda: torch.ones(1).cuda().device.type)()
    assert built == "cpu" and torch.Tensor.cuda is before


def test_build_is_unchanged_with_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    before = torch.Tensor.cuda
    assert cpu_fallbacks.keep_on_cpu(lambda: torch.Tensor.cuda)() is before


def test_checkpointing_replacements_are_restored(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    before = (torch.cuda.synchronize, torch.cuda.current_device, filesystem_async._results_queue)
    with cpu_fallbacks.checkpointing_without_cuda():
        assert torch.cuda.current_device() == "cpu"
        torch.cuda.synchronize()
        # A queue of this process returns the same object.
        item = object()
        filesystem_async._results_queue.put(item)
        assert filesystem_async._results_queue.get(timeout=100) is item
    assert (torch.cuda.synchronize, torch.cuda.current_device, filesystem_async._results_queue) == before


def test_fallbacks_apply_when_core_has_no_async_writer(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setitem(sys.modules, filesystem_async.__name__, None)
    with cpu_fallbacks.checkpointing_without_cuda():
        assert torch.cuda.current_device() == "cpu"


def test_checkpointing_replaces_nothing_when_cuda_is_available(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    before = (torch.cuda.synchronize, torch.cuda.current_device, filesystem_async._results_queue)
    with cpu_fallbacks.checkpointing_without_cuda():
        assert (torch.cuda.synchronize, torch.cuda.current_device, filesystem_async._results_queue) == before


def test_computing_on_cpu_replaces_and_restores_cuda():
    before = (
        torch.cuda.current_device,
        torch.cuda.get_device_properties,
        torch.Tensor.cuda,
        CudaRNGStatesTracker.fork,
    )
    with cpu_fallbacks.computing_on_cpu():
        assert torch.cuda.current_device() == "cpu" and torch.cuda.get_device_properties().major == 9
        assert torch.zeros(2, device="cuda").device.type == torch.zeros(2).cuda().device.type == "cpu"
        with CudaRNGStatesTracker().fork():
            pass
    after = (torch.cuda.current_device, torch.cuda.get_device_properties, torch.Tensor.cuda, CudaRNGStatesTracker.fork)
    assert after == before
