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

"""Tests of te_requirements: models that need Transformer Engine are refused before they are built."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from megatron.core.extensions import transformer_engine
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
from megatron.core.transformer import ModuleSpec
from megatron.core.transformer.torch_norm import WrappedTorchNorm

from megatron.bridge.utils import te_requirements
from megatron.bridge.utils.te_requirements import (
    TransformerEngineRequiredError,
    check_te_available,
    explain_missing_te,
)


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    """A host without CUDA and without Transformer Engine."""
    monkeypatch.setattr(te_requirements, "HAVE_TE", False)
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
def test_model_of_local_modules_passes(provider):
    check_te_available(provider)


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
def test_model_that_needs_te_is_refused_with_the_reason(provider, reason):
    with pytest.raises(TransformerEngineRequiredError) as raised:
        check_te_available(provider)
    assert raised.value.model == "org/model" and reason in raised.value.reason and not raised.value.is_installed


@pytest.mark.parametrize(
    "through",
    [lambda spec: spec, lambda spec: [spec], lambda spec: partial(object, own=spec)],
    ids=["itself", "list", "partial"],
)
def test_cyclic_specification_is_searched_once(through):
    own = _with(WrappedTorchNorm)
    own.params = {"back": through(own), **own.params}
    check_te_available(_provider(own))
    own.params["last"] = transformer_engine.TENorm
    with pytest.raises(TransformerEngineRequiredError) as raised:
        check_te_available(_provider(own))
    assert "TENorm" in raised.value.reason


def test_te_without_cuda_is_not_usable(monkeypatch):
    monkeypatch.setattr(te_requirements, "HAVE_TE", True)
    with pytest.raises(TransformerEngineRequiredError) as raised:
        check_te_available(_provider(_local, multi_latent_attention=True))
    assert raised.value.is_installed


def test_te_check_passes_when_te_and_cuda_are_available(monkeypatch):
    monkeypatch.setattr(te_requirements, "HAVE_TE", True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    check_te_available(_provider(_local, multi_latent_attention=True))
    with pytest.raises(NameError) as error:
        explain_missing_te(_missing)(_provider())
    assert not hasattr(error.value, "__notes__")


def _raises(config) -> ModuleSpec:
    raise ValueError("num_layers must be divisible")


@pytest.mark.parametrize("spec", [_missing, _none, _raises, "no function"])
def test_failing_specification_adds_a_note_to_the_build_error(spec):
    provider = _provider(spec)
    check_te_available(provider)
    with pytest.raises(Exception) as plain:
        spec(provider)
    with pytest.raises(type(plain.value)) as noted:
        explain_missing_te(lambda provider: provider.transformer_layer_spec(provider))(provider)
    assert str(noted.value) == str(plain.value)
    (note,) = noted.value.__notes__
    assert (
        "Transformer Engine is not usable on this host" in note and "'transformer-engine[core_cu13,pytorch]'" in note
    )


def test_model_that_needs_te_is_refused_before_the_build():
    built = []
    build = explain_missing_te(built.append)
    with pytest.raises(TransformerEngineRequiredError):
        build(_provider(_local, multi_latent_attention=True))
    assert not built
    build(_provider(_local))
    assert len(built) == 1


@pytest.mark.parametrize("size", [None, 2])
def test_specification_of_virtual_pipeline_gets_a_stage(size):
    stages = []

    def spec(config, vp_stage):
        stages.append(vp_stage)
        assert (vp_stage is None) == (size is None)
        return _with(transformer_engine.TENorm)

    with pytest.raises(TransformerEngineRequiredError) as raised:
        check_te_available(_provider(spec, virtual_pipeline_model_parallel_size=size))
    assert "TENorm" in raised.value.reason
    assert stages == [None if size is None else 0]
