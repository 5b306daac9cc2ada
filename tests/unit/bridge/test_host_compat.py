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
import pickle
from types import SimpleNamespace

import pytest
import torch

from megatron.bridge.utils import host_compat, te_requirements


@pytest.fixture
def bare(monkeypatch):
    """A host without CUDA and without Transformer Engine."""
    monkeypatch.setattr(te_requirements, "HAVE_TE", False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(host_compat, "can_enable_gradient_accumulation_fusion", lambda: False)


@pytest.fixture
def full(monkeypatch):
    """A host with both."""
    monkeypatch.setattr(te_requirements, "HAVE_TE", True)
    monkeypatch.setattr(host_compat, "has_stand_in", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(host_compat, "can_enable_gradient_accumulation_fusion", lambda: True)


def _config(**fields) -> SimpleNamespace:
    defaults = dict(apply_rope_fusion=True, persist_layer_norm=True, gradient_accumulation_fusion=True, fp8=None)
    return SimpleNamespace(**defaults | fields)


def test_config_is_unchanged_when_host_supports_every_feature(full):
    config = _config()
    host_compat.disable_unsupported(config)
    assert config == _config()
    assert host_compat.restore_model_values(config) is config


@pytest.mark.parametrize("apex", [True, False])
@pytest.mark.parametrize("fields", [{}, {"share_embeddings_and_output_weights": True}], ids=["other", "language"])
def test_accumulation_fusion_needs_apex_for_language_models(full, monkeypatch, apex, fields):
    monkeypatch.setattr(host_compat.importlib.util, "find_spec", lambda name: object() if apex else None)
    config = _config(**fields)
    host_compat.disable_unsupported(config)
    assert config.gradient_accumulation_fusion is (apex or not fields)
    assert host_compat.restore_model_values(config).gradient_accumulation_fusion is True


@pytest.mark.parametrize(("cuda", "expected"), [(True, True), (False, False)])
def test_sequence_parallel_is_disabled_only_without_cuda(monkeypatch, bare, cuda, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    config = _config(sequence_parallel=True)
    host_compat.disable_unsupported(config)
    assert config.sequence_parallel is expected
    assert host_compat.restore_model_values(config).sequence_parallel is True


def test_disabled_features_are_restored_for_writing(bare):
    config = _config()
    host_compat.disable_unsupported(config)
    host_compat.disable_unsupported(config)
    assert not (config.apply_rope_fusion or config.persist_layer_norm or config.gradient_accumulation_fusion)
    written = host_compat.restore_model_values(config)
    assert written.apply_rope_fusion and written.persist_layer_norm and written.gradient_accumulation_fusion
    assert not config.apply_rope_fusion
    assert vars(written).keys() == vars(_config()).keys()


def test_unused_features_stay_off_when_restored(bare):
    config = _config(apply_rope_fusion=False)
    host_compat.disable_unsupported(config)
    assert host_compat.restore_model_values(config).apply_rope_fusion is False


def test_restore_keeps_field_set_after_override(bare):
    config = _config(moe_token_dispatcher_type="alltoall")
    host_compat.disable_unsupported(config)
    assert config.moe_token_dispatcher_type == "allgather"
    config.moe_token_dispatcher_type = "flex"
    assert host_compat.restore_model_values(config).moe_token_dispatcher_type == "flex"


def test_stand_in_needs_kernels_disabled_and_keeps_modules(monkeypatch, bare):
    monkeypatch.setattr(host_compat, "has_transformer_engine", lambda: True)
    monkeypatch.setattr(host_compat, "has_stand_in", lambda: True)
    config = _config(moe_grouped_gemm=True, moe_router_fusion=True)
    host_compat.disable_unsupported(config)
    assert (config.apply_rope_fusion, config.moe_router_fusion) == (False, False)
    assert config.persist_layer_norm and config.moe_grouped_gemm


def test_disabling_twice_keeps_the_model_value(bare):
    config = _config(moe_token_dispatcher_type="alltoall")
    host_compat.disable_unsupported(config)
    host_compat.disable_unsupported(config)
    assert config.moe_token_dispatcher_type == "allgather"
    assert host_compat.restore_model_values(config).moe_token_dispatcher_type == "alltoall"


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda config: pickle.loads(pickle.dumps(config))])
def test_copies_keep_model_values_independently(bare, copied):
    config = _config(moe_token_dispatcher_type="alltoall")
    host_compat.disable_unsupported(config)
    other = copied(config)
    for each in (config, other):
        written = host_compat.restore_model_values(each)
        assert written.apply_rope_fusion and written.moe_token_dispatcher_type == "alltoall"
    host_compat.override_for_host(other, "fp8", "e4m3")
    assert host_compat.restore_model_values(other).fp8 is None and config.fp8 is None
    assert "fp8" not in vars(config)[host_compat._HOST_VALUES]


@pytest.mark.parametrize("value", [None, 3, "text", [1], {"_host_values": 1}, int, _config, SimpleNamespace(a=1)])
def test_restore_returns_values_without_overrides_unchanged(value):
    assert host_compat.restore_model_values(value) is value


def test_override_with_current_value_stores_nothing():
    config = _config(use_cpu_initialization=False)
    host_compat.override_for_host(config, "use_cpu_initialization", True)
    config.use_cpu_initialization = True
    host_compat.override_for_host(config, "use_cpu_initialization", True)
    assert host_compat.restore_model_values(config).use_cpu_initialization is True
