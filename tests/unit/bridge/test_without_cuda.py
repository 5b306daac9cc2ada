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

"""What stands in for CUDA does so on hosts without it, and for a time."""

import sys

import pytest
import torch
import torch.distributed as dist
from megatron.core.dist_checkpointing.strategies import filesystem_async

from megatron.bridge.utils import without_cuda


@pytest.mark.parametrize(("cuda", "backend"), [(True, "nccl"), (False, "gloo")])
def test_the_backend_is_nccl_with_cuda_and_gloo_without(cuda, backend, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    assert without_cuda.distributed_backend() == backend


def test_the_backend_of_this_host_adds_up_tensors_of_its_device():
    dist.init_process_group(without_cuda.distributed_backend(), store=dist.HashStore(), rank=0, world_size=1)
    try:
        tensor = torch.full((3,), 2.0, device="cuda" if torch.cuda.is_available() else "cpu")
        dist.all_reduce(tensor)
        assert tensor.tolist() == [2.0, 2.0, 2.0]
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize(("cuda", "devices"), [(True, [3]), (False, [])])
def test_a_rank_s_device_is_set_where_there_is_one(cuda, devices, monkeypatch):
    seen = []
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "set_device", seen.append)
    without_cuda.set_local_device()
    assert seen == devices


def test_a_tensor_stays_on_the_cpu_while_a_model_is_built_and_not_afterwards(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    before = torch.Tensor.cuda
    built = without_cuda.builds_without_cuda(lambda: torch.ones(1).cuda().device.type)()
    assert built == "cpu" and torch.Tensor.cuda is before


def test_with_cuda_a_model_is_built_as_ever(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    before = torch.Tensor.cuda
    assert without_cuda.builds_without_cuda(lambda: torch.Tensor.cuda)() is before


def test_the_stand_ins_for_cuda_are_gone_afterwards(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    before = (torch.cuda.synchronize, torch.cuda.current_device, filesystem_async._results_queue)
    with without_cuda.checkpointing_without_cuda():
        assert torch.cuda.current_device() == "cpu"
        torch.cuda.synchronize()
        # A queue of this process: what is put there is what is got, by its identity.
        thing = object()
        filesystem_async._results_queue.put(thing)
        assert filesystem_async._results_queue.get(timeout=100) is thing
    assert (torch.cuda.synchronize, torch.cuda.current_device, filesystem_async._results_queue) == before


def test_a_core_without_its_own_writer_has_the_other_stand_ins(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setitem(sys.modules, filesystem_async.__name__, None)
    with without_cuda.checkpointing_without_cuda():
        assert torch.cuda.current_device() == "cpu"


def test_with_cuda_nothing_stands_in(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    before = (torch.cuda.synchronize, torch.cuda.current_device, filesystem_async._results_queue)
    with without_cuda.checkpointing_without_cuda():
        assert (torch.cuda.synchronize, torch.cuda.current_device, filesystem_async._results_queue) == before
