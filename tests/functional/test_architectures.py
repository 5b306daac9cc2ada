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

"""Each architecture, with the config of a real model, is converted and computed by Megatron-LM, or refused with the reason."""

from pathlib import Path
from typing import Any

import pytest
from architectures import ARCHITECTURES
from attention_backend import forget_attention_backend
from hf_tensors import assert_exported
from models import add_tensors, save_architecture

from megatron.bridge import AutoBridge
from megatron.bridge.release.validation.model_errors import (
    MissingTensorsProblem,
    TensorMismatchError,
    UnsupportedConfigError,
)
from megatron.bridge.release.verify.logits import compare_logits


# What the error names.
REFUSED = {}
IN_EVERY_TEST = ()

CONVERTED = [name for name in ARCHITECTURES if name not in REFUSED]


def _params(names: list[str]) -> list[Any]:
    return [pytest.param(name, marks=[] if name in IN_EVERY_TEST else pytest.mark.exhaustive) for name in names]


@pytest.fixture(scope="module")
def converted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model and its release."""
    folder = tmp_path_factory.mktemp("architecture")
    hf = save_architecture(folder / "hf", request.param)
    with pytest.MonkeyPatch.context() as monkeypatch:
        forget_attention_backend(monkeypatch)
        try:
            AutoBridge.import_ckpt(hf, folder / "root", release=True)
        except TensorMismatchError as error:
            (problem,) = error.problems
            assert isinstance(problem, MissingTensorsProblem)
            add_tensors(hf, problem.names)
            AutoBridge.import_ckpt(hf, folder / "root", release=True)
    return hf, folder / "root"


@pytest.mark.cell("architecture", row="converted", column="logits of Megatron-LM match")
@pytest.mark.parametrize("converted", _params(CONVERTED), indirect=True)
def test_megatron_lm_matches_source_model_logits(converted):
    hf, root = converted
    comparison = compare_logits(root, hf)
    assert comparison.matches, comparison


@pytest.mark.cell("architecture", row="converted", column="exported again, bit for bit")
@pytest.mark.parametrize("converted", _params(CONVERTED), indirect=True)
def test_export_matches_source_model_bit_for_bit(converted, tmp_path, monkeypatch):
    forget_attention_backend(monkeypatch)
    assert_exported(*converted, tmp_path / "hf")


@pytest.mark.parametrize("name", _params(list(REFUSED)))
def test_other_architecture_is_refused_with_the_reason(name, tmp_path):
    hf = save_architecture(tmp_path / "hf", name)
    with pytest.raises((UnsupportedConfigError, TensorMismatchError)) as raised:
        AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    assert REFUSED[name] in str(raised.value) and not (tmp_path / "root").exists()
