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

"""What a host lacks is switched off in a config and never recorded."""

import functools
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from megatron.core.dist_checkpointing.strategies import filesystem_async

from megatron.bridge.utils import host


@pytest.fixture
def bare(monkeypatch):
    """A host without CUDA and without Transformer Engine."""
    monkeypatch.setattr(host, "HAVE_TE", False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(host, "can_enable_gradient_accumulation_fusion", lambda: False)


@pytest.fixture
def full(monkeypatch):
    """A host with both."""
    monkeypatch.setattr(host, "HAVE_TE", True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(host, "can_enable_gradient_accumulation_fusion", lambda: True)


def _config(**fields) -> SimpleNamespace:
    defaults = dict(apply_rope_fusion=True, persist_layer_norm=True, gradient_accumulation_fusion=True, fp8=None)
    return SimpleNamespace(**defaults | fields)


def test_a_host_with_everything_changes_nothing(full):
    config = _config()
    host.fit_to_host(config)
    assert config == _config()


def test_a_bare_host_switches_off_what_it_lacks_and_writes_what_the_model_has(bare):
    config = _config()
    host.fit_to_host(config)
    host.fit_to_host(config)
    assert not (config.apply_rope_fusion or config.persist_layer_norm or config.gradient_accumulation_fusion)
    with host.model_values(config):
        assert config.apply_rope_fusion and config.persist_layer_norm and config.gradient_accumulation_fusion
    assert not config.apply_rope_fusion


def test_what_the_model_does_not_use_is_not_turned_on_by_writing(bare):
    config = _config(apply_rope_fusion=False)
    host.fit_to_host(config)
    with host.model_values(config):
        assert config.apply_rope_fusion is False


def test_a_field_that_was_set_again_keeps_what_it_was_set_to(bare):
    config = _config(moe_token_dispatcher_type="alltoall")
    host.fit_to_host(config)
    assert config.moe_token_dispatcher_type == "allgather"
    config.moe_token_dispatcher_type = "flex"
    with host.model_values(config):
        assert config.moe_token_dispatcher_type == "flex"


@pytest.mark.parametrize("made_with", [True, False])
def test_a_layer_spec_is_made_for_the_host_and_written_for_transformer_engine(bare, made_with):
    def spec(config, use_transformer_engine):
        return use_transformer_engine

    config = _config(transformer_layer_spec=functools.partial(spec, use_transformer_engine=made_with))
    host.fit_to_host(config)
    host.fit_to_host(config)
    assert config.transformer_layer_spec(config) is False
    with host.model_values(config):
        assert config.transformer_layer_spec(config) is True


def test_the_values_come_back_when_writing_fails(bare):
    config = _config()
    host.fit_to_host(config)
    with pytest.raises(OSError), host.model_values(config):
        raise OSError
    assert config.apply_rope_fusion is False


def test_switching_to_the_value_it_has_remembers_nothing():
    config = _config(use_cpu_initialization=False)
    host.switch(config, "use_cpu_initialization", True)
    config.use_cpu_initialization = True
    host.switch(config, "use_cpu_initialization", True)
    with host.model_values(config):
        assert config.use_cpu_initialization is True


def test_the_backend_is_nccl_with_cuda_and_gloo_without(monkeypatch):
    for cuda, backend in ((True, "nccl"), (False, "gloo")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        assert host.distributed_backend() == backend


def test_the_backend_of_this_host_adds_up_tensors_of_its_device():
    dist.init_process_group(host.distributed_backend(), store=dist.HashStore(), rank=0, world_size=1)
    try:
        tensor = torch.full((3,), 2.0, device="cuda" if torch.cuda.is_available() else "cpu")
        dist.all_reduce(tensor)
        assert tensor.tolist() == [2.0, 2.0, 2.0]
    finally:
        dist.destroy_process_group()


def test_the_stand_ins_for_cuda_are_gone_afterwards(bare):
    before = (torch.cuda.synchronize, torch.cuda.current_device, filesystem_async._results_queue)
    with host.checkpointing_without_cuda():
        assert torch.cuda.current_device() == "cpu"
        torch.cuda.synchronize()
        # A queue of this process: what is put there is what is got, by its identity.
        thing = object()
        filesystem_async._results_queue.put(thing)
        assert filesystem_async._results_queue.get(timeout=5) is thing
    assert (torch.cuda.synchronize, torch.cuda.current_device, filesystem_async._results_queue) == before


def test_with_cuda_nothing_stands_in(full):
    before = (torch.cuda.synchronize, torch.cuda.current_device, filesystem_async._results_queue)
    with host.checkpointing_without_cuda():
        assert (torch.cuda.synchronize, torch.cuda.current_device, filesystem_async._results_queue) == before


def test_an_error_that_has_nothing_to_do_with_transformer_engine_passes_through(bare):
    @host.explains_missing_transformer_engine
    def build(provider):
        raise ValueError("num_layers must be divisible")

    with pytest.raises(ValueError, match="^num_layers must be divisible$"):
        build(SimpleNamespace())


def test_transformer_engine_without_cuda_is_not_used_and_the_gpu_is_asked_for(bare, monkeypatch):
    monkeypatch.setattr(host, "HAVE_TE", True)
    assert not host.has_transformer_engine()

    @host.explains_missing_transformer_engine
    def build(provider):
        raise ImportError("Transformer Engine is not installed.")

    with pytest.raises(RuntimeError, match="It is installed and needs CUDA: convert on a host with a GPU"):
        build(SimpleNamespace())


def test_a_missing_transformer_engine_is_named_with_the_model_and_the_extra(bare):
    @host.explains_missing_transformer_engine
    def build(provider):
        raise ImportError("Transformer Engine is not installed.")

    with pytest.raises(RuntimeError, match=r"^org/model cannot be built without .*'megatron-bridge\[te\]'$"):
        build(SimpleNamespace(hf_model_id="org/model"))
