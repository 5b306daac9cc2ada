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

import copy
import functools
import pickle
from types import SimpleNamespace

import pytest
import torch

from megatron.bridge.utils import host, transformer_engine_need


@pytest.fixture
def bare(monkeypatch):
    """A host without CUDA and without Transformer Engine."""
    monkeypatch.setattr(transformer_engine_need, "HAVE_TE", False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(host, "can_enable_gradient_accumulation_fusion", lambda: False)


@pytest.fixture
def full(monkeypatch):
    """A host with both."""
    monkeypatch.setattr(transformer_engine_need, "HAVE_TE", True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(host, "can_enable_gradient_accumulation_fusion", lambda: True)


def _config(**fields) -> SimpleNamespace:
    defaults = dict(apply_rope_fusion=True, persist_layer_norm=True, gradient_accumulation_fusion=True, fp8=None)
    return SimpleNamespace(**defaults | fields)


def test_a_host_with_everything_changes_nothing(full):
    config = _config()
    host.fit_to_host(config)
    assert config == _config()
    assert host.restore_model_values(config) is config


@pytest.mark.parametrize("apex", [True, False])
@pytest.mark.parametrize("fields", [{}, {"share_embeddings_and_output_weights": True}], ids=["other", "language"])
def test_accumulation_is_fused_unless_an_output_layer_lacks_apex(full, monkeypatch, apex, fields):
    monkeypatch.setattr(host.importlib.util, "find_spec", lambda name: object() if apex else None)
    config = _config(**fields)
    host.fit_to_host(config)
    assert config.gradient_accumulation_fusion is (apex or not fields)
    assert host.restore_model_values(config).gradient_accumulation_fusion is True


@pytest.mark.parametrize(("cuda", "expected"), [(True, True), (False, False)])
def test_sequence_parallel_is_left_to_the_caller_with_cuda(monkeypatch, bare, cuda, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    config = _config(sequence_parallel=True)
    host.fit_to_host(config)
    assert config.sequence_parallel is expected
    assert host.restore_model_values(config).sequence_parallel is True


def test_a_bare_host_switches_off_what_it_lacks_and_writes_what_the_model_has(bare):
    config = _config()
    host.fit_to_host(config)
    host.fit_to_host(config)
    assert not (config.apply_rope_fusion or config.persist_layer_norm or config.gradient_accumulation_fusion)
    written = host.restore_model_values(config)
    assert written.apply_rope_fusion and written.persist_layer_norm and written.gradient_accumulation_fusion
    assert not config.apply_rope_fusion
    assert vars(written).keys() == vars(_config()).keys()


def test_what_the_model_does_not_use_is_not_turned_on_by_writing(bare):
    config = _config(apply_rope_fusion=False)
    host.fit_to_host(config)
    assert host.restore_model_values(config).apply_rope_fusion is False


def test_a_field_that_was_set_again_keeps_what_it_was_set_to(bare):
    config = _config(moe_token_dispatcher_type="alltoall")
    host.fit_to_host(config)
    assert config.moe_token_dispatcher_type == "allgather"
    config.moe_token_dispatcher_type = "flex"
    assert host.restore_model_values(config).moe_token_dispatcher_type == "flex"


@pytest.mark.parametrize("made_with", [True, False])
def test_a_layer_spec_is_made_for_the_host_and_written_for_transformer_engine(bare, made_with):
    def spec(config, use_transformer_engine):
        return use_transformer_engine

    config = _config(transformer_layer_spec=functools.partial(spec, use_transformer_engine=made_with))
    host.fit_to_host(config)
    host.fit_to_host(config)
    assert config.transformer_layer_spec(config) is False
    assert host.restore_model_values(config).transformer_layer_spec(config) is True


def test_fitting_again_keeps_a_value_that_the_host_has_given(bare):
    config = _config(moe_token_dispatcher_type="alltoall")
    host.fit_to_host(config)
    host.fit_to_host(config)
    assert config.moe_token_dispatcher_type == "allgather"
    assert host.restore_model_values(config).moe_token_dispatcher_type == "alltoall"


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda config: pickle.loads(pickle.dumps(config))])
def test_a_copy_knows_the_model_s_values_and_its_fields_are_its_own(bare, copied):
    config = _config(moe_token_dispatcher_type="alltoall")
    host.fit_to_host(config)
    other = copied(config)
    for one in (config, other):
        written = host.restore_model_values(one)
        assert written.apply_rope_fusion and written.moe_token_dispatcher_type == "alltoall"
    host.switch(other, "fp8", "e4m3")
    assert host.restore_model_values(other).fp8 is None and config.fp8 is None
    assert "fp8" not in vars(config)[host._HOST_VALUES]


@pytest.mark.parametrize("value", [None, 3, "text", [1], {"_host_values": 1}, int, _config, SimpleNamespace(a=1)])
def test_any_other_value_is_written_as_it_is(value):
    assert host.restore_model_values(value) is value


def test_switching_to_the_value_it_has_remembers_nothing():
    config = _config(use_cpu_initialization=False)
    host.switch(config, "use_cpu_initialization", True)
    config.use_cpu_initialization = True
    host.switch(config, "use_cpu_initialization", True)
    assert host.restore_model_values(config).use_cpu_initialization is True
