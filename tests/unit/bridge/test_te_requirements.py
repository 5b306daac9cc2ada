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

"""Tests of te_requirements: whether models can be built from Transformer Engine's modules, and what an error says if not."""

import pytest
import torch
from megatron.core.extensions import transformer_engine

from megatron.bridge.utils import te_requirements
from megatron.bridge.utils.te_requirements import explain_missing_te, has_stand_in, has_transformer_engine


@pytest.mark.parametrize("is_installed", [True, False])
@pytest.mark.parametrize("has_cuda", [True, False])
def test_transformer_engine_needs_cuda(monkeypatch, is_installed, has_cuda):
    monkeypatch.setattr(te_requirements, "HAVE_TE", is_installed)
    monkeypatch.setattr(transformer_engine, "te", object())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    assert has_transformer_engine() == (is_installed and has_cuda) and not has_stand_in()


@pytest.mark.skipif(not has_stand_in(), reason="this host has CUDA and Transformer Engine")
def test_stand_in_needs_no_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert has_transformer_engine()


def _fail() -> None:
    raise TypeError("'NoneType' object is not callable")


@pytest.mark.parametrize("is_installed", [True, False])
def test_build_error_without_transformer_engine_has_a_note(monkeypatch, is_installed):
    monkeypatch.setattr(te_requirements, "HAVE_TE", is_installed)
    monkeypatch.setattr(transformer_engine, "te", object())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TypeError) as raised:
        explain_missing_te(_fail)()
    (note,) = raised.value.__notes__
    assert ("CUDA" in note) == is_installed and "`import_ckpt`" in note


def test_build_error_with_transformer_engine_has_no_note(monkeypatch):
    monkeypatch.setattr(te_requirements, "HAVE_TE", True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(TypeError) as raised:
        explain_missing_te(_fail)()
    assert not hasattr(raised.value, "__notes__")


def test_build_returns_its_result():
    assert explain_missing_te(lambda layers: layers + 1)(2) == 3
