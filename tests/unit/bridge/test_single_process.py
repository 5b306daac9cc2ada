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

"""Tests of single_process: groups are destroyed and variables restored."""

import dataclasses
import os

import pytest
import torch.distributed as dist
from megatron.core import parallel_state
from megatron.core.process_groups_config import ProcessGroupCollection

from megatron.bridge.utils import single_process


def test_environment_is_restored(monkeypatch):
    monkeypatch.setenv("NVTE_FLASH_ATTN", "1")
    monkeypatch.setenv("NVTE_OTHER", "2")
    monkeypatch.delenv("NVTE_FUSED_ATTN", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_MAX_CONNECTIONS", raising=False)
    before = dict(os.environ)
    with pytest.raises(KeyError), single_process.preserve_environment(CUDA_DEVICE_MAX_CONNECTIONS="1"):
        assert "NVTE_FLASH_ATTN" not in os.environ and os.environ["NVTE_OTHER"] == "2"
        assert os.environ["CUDA_DEVICE_MAX_CONNECTIONS"] == "1"
        os.environ["NVTE_FUSED_ATTN"] = os.environ["NVTE_FLASH_ATTN_V3"] = "0"
        raise KeyError
    assert dict(os.environ) == before


@pytest.fixture(params=[False, True], ids=["none", "existing"])
def existing_group(request):
    """Whether there is a default group."""
    if request.param:
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield request.param
    if request.param:
        dist.destroy_process_group()


def test_model_parallel_groups_are_destroyed(existing_group):
    before = len(dist.distributed_c10d._world.pg_map)
    with single_process.model_parallel_groups():
        assert parallel_state.is_initialized()
        with single_process.model_parallel_groups():
            pass
        assert ProcessGroupCollection.use_mpu_process_groups().tp.size() == 1
        during = len(dist.distributed_c10d._world.pg_map)
    assert not parallel_state.is_initialized() and dist.is_initialized() is existing_group
    assert before <= len(dist.distributed_c10d._world.pg_map) < during


def test_conversion_group_is_destroyed_after_an_error():
    with pytest.raises(KeyError), single_process.conversion_process_group():
        assert parallel_state.is_initialized()
        raise KeyError
    assert not parallel_state.is_initialized() and not dist.is_initialized()


def test_local_group_next_to_others_is_destroyed():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        groups = len(dist.distributed_c10d._world.pg_map)
        with single_process.local_groups() as alone:
            assert alone.tp.size() == 1 and alone.tp is alone.pp
            assert len(dist.distributed_c10d._world.pg_map) == groups + 1
        assert len(dist.distributed_c10d._world.pg_map) == groups
    finally:
        dist.destroy_process_group()


def test_local_groups_leave_no_default_group():
    with single_process.local_groups():
        assert dist.is_initialized()
    assert not dist.is_initialized()


@pytest.mark.parametrize("annotations", ["evaluated", "postponed"])
def test_local_groups_have_each_group_of_megatron_core(annotations, monkeypatch):
    if annotations == "postponed":
        words = {
            name: "torch.distributed.ProcessGroup" if kind is dist.ProcessGroup else kind
            for name, kind in ProcessGroupCollection.__annotations__.items()
        }
        monkeypatch.setattr(ProcessGroupCollection, "__annotations__", words)
        for field in dataclasses.fields(ProcessGroupCollection):
            monkeypatch.setattr(field, "type", words[field.name])
    with single_process.local_groups() as groups:
        assert {"tp", "pp", "cp", "ep", "dp_cp"} <= vars(groups).keys()
