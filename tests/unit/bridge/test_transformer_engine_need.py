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

"""A model that needs Transformer Engine is known from its provider, before it is built."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from megatron.core.extensions import transformer_engine
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
from megatron.core.transformer import ModuleSpec
from megatron.core.transformer.torch_norm import WrappedTorchNorm

from megatron.bridge.utils import transformer_engine_need
from megatron.bridge.utils.te_requirements import (
    explains_missing_transformer_engine,
    require_transformer_engine,
)


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    """A host without CUDA and without Transformer Engine."""
    monkeypatch.setattr(transformer_engine_need, "HAVE_TE", False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def _provider(spec=None, **fields) -> SimpleNamespace:
    return SimpleNamespace(transformer_layer_spec=spec, hf_model_id="org/model", **fields)


def _local(config) -> ModuleSpec:
    return get_gpt_layer_local_spec(qk_layernorm=True, normalization="RMSNorm")


def _missing(config) -> ModuleSpec:
    return TESpecProvider()  # noqa: F821


def _none(config) -> ModuleSpec:
    return (lambda: None)()()


def _with(module) -> ModuleSpec:
    inner = ModuleSpec(module=object, params={"norm": [partial(WrappedTorchNorm, norm=module)]})
    return ModuleSpec(module=object, submodules=SimpleNamespace(), params={"inner": inner})


@pytest.mark.parametrize(
    "provider",
    [
        _provider(),
        SimpleNamespace(),
        _provider(_local),
        _provider(lambda config, vp_stage: _local(config)),
        _provider(_local(None)),
        _provider(_with(WrappedTorchNorm)),
        _provider(_with(None)),
        _provider(_local, multi_latent_attention=False, layernorm_zero_centered_gamma=False),
    ],
)
def test_a_model_of_megatron_core_s_own_modules_passes(provider):
    require_transformer_engine(provider)


@pytest.mark.parametrize(
    ("provider", "reason"),
    [
        (_provider(_local, multi_latent_attention=True), "multi_latent_attention"),
        (_provider(_local, layernorm_zero_centered_gamma=True), "layernorm_zero_centered_gamma"),
        (_provider(_with(transformer_engine.TENorm)), "TENorm"),
        (_provider(_with(transformer_engine.TEDotProductAttention)), "TEDotProductAttention"),
        (_provider(lambda config, vp_stage: _with(transformer_engine.TELinear)), "TELinear"),
    ],
)
def test_a_model_that_needs_it_says_why_and_what_to_install(provider, reason):
    with pytest.raises(
        RuntimeError, match=rf"^org/model cannot be built .*{reason}.*'transformer-engine\[core_cu13,pytorch\]'$"
    ):
        require_transformer_engine(provider)


@pytest.mark.parametrize(
    "through",
    [lambda spec: spec, lambda spec: [spec], lambda spec: partial(object, own=spec)],
    ids=["itself", "list", "partial"],
)
def test_a_specification_that_leads_back_to_itself_is_looked_through_once(through):
    own = _with(WrappedTorchNorm)
    own.params = {"back": through(own), **own.params}
    require_transformer_engine(_provider(own))
    own.params["last"] = transformer_engine.TENorm
    with pytest.raises(RuntimeError, match="TENorm"):
        require_transformer_engine(_provider(own))


def test_transformer_engine_without_cuda_is_not_used_and_the_gpu_is_asked_for(monkeypatch):
    monkeypatch.setattr(transformer_engine_need, "HAVE_TE", True)
    with pytest.raises(RuntimeError, match="It is installed and needs CUDA: convert on a host with a GPU"):
        require_transformer_engine(_provider(_local, multi_latent_attention=True))


def test_where_it_can_be_used_every_model_passes(monkeypatch):
    monkeypatch.setattr(transformer_engine_need, "HAVE_TE", True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    require_transformer_engine(_provider(_local, multi_latent_attention=True))
    with pytest.raises(NameError) as error:
        explains_missing_transformer_engine(_missing)(_provider())
    assert not hasattr(error.value, "__notes__")


def _raises(config) -> ModuleSpec:
    raise ValueError("num_layers must be divisible")


@pytest.mark.parametrize("spec", [_missing, _none, _raises, "no function"])
def test_a_specification_that_cannot_be_made_is_left_to_the_build_whose_error_gets_a_note(spec):
    provider = _provider(spec)
    require_transformer_engine(provider)
    with pytest.raises(Exception) as plain:
        spec(provider)
    with pytest.raises(type(plain.value)) as noted:
        explains_missing_transformer_engine(lambda provider: provider.transformer_layer_spec(provider))(provider)
    assert str(noted.value) == str(plain.value)
    (note,) = noted.value.__notes__
    assert "Transformer Engine cannot be used here" in note and "'transformer-engine[core_cu13,pytorch]'" in note


def test_a_model_that_needs_it_is_refused_before_it_is_built():
    built = []
    build = explains_missing_transformer_engine(built.append)
    with pytest.raises(RuntimeError, match="cannot be built without Transformer Engine"):
        build(_provider(_local, multi_latent_attention=True))
    assert not built
    build(_provider(_local))
    assert len(built) == 1


@pytest.mark.parametrize("size", [None, 2])
def test_a_virtual_pipeline_s_specification_is_made_for_a_stage(size):
    stages = []

    def spec(config, vp_stage):
        stages.append(vp_stage)
        assert (vp_stage is None) == (size is None)
        return _with(transformer_engine.TENorm)

    with pytest.raises(RuntimeError, match="TENorm"):
        require_transformer_engine(_provider(spec, virtual_pipeline_model_parallel_size=size))
    assert stages == [None if size is None else 0]
