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
from megatron.bridge.release.errors import ReleaseError
from megatron.bridge.release.validation.model_errors import (
    MissingTensorsProblem,
    TensorMismatchError,
    UnsupportedConfigError,
)
from megatron.bridge.release.verify.logits import compare_logits


_ENCODERS = "no vision or audio encoders"
_GEMMA = "no options for its activation, embedding scale and norms"
_HEADS = "span all heads"
_HYBRID = "pretrain_hybrid.py"
_NO_BRIDGE = "Unsupported architecture: "
# What the error names.
REFUSED = {
    "DeepSeek-V2": "topk_method='group_limited_greedy'",
    "DeepSeek-V2-Lite": "q_lora_rank=None",
    "DeepSeek-V4-Flash": "no options for its attention",
    "ERNIE-4.5-21B-A3B": "routes tokens differently",
    "ERNIE-4.5-VL-28B-A3B": _ENCODERS,
    "EXAONE-4.0-1.2B": "follow the attention and the MLP",
    "EXAONE-4.0-32B": "follow the attention and the MLP",
    "EXAONE-4.5-33B": _ENCODERS,
    "Falcon-H1-0.5B": _HYBRID,
    "GLM-4.5V": _ENCODERS,
    "GLM-5": "no options for its sparse attention",
    "Gemma": _GEMMA,
    "Gemma-2": _GEMMA,
    "Gemma-3-1B": _GEMMA,
    "Gemma-3-4B": _ENCODERS,
    "Gemma-4-26B-A4B": _ENCODERS,
    "Gemma-4-26B-A4B-text": _GEMMA,
    "Gemma-4-31B": _ENCODERS,
    "Gemma-4-31B-text": _GEMMA,
    "Granite-3.3-8B": _NO_BRIDGE,
    "Kimi-K2": "rope_parameters.beta_fast=1.0",
    "Llama-4-Maverick-text": _NO_BRIDGE,
    "Llama-4-Scout-text": _NO_BRIDGE,
    "MiniMax-M2": _HEADS,
    "MiniMax-M3": _ENCODERS,
    "Ministral-3-3B": _ENCODERS,
    "Mistral-Small-3.1": _ENCODERS,
    "Nemotron-3-Nano": _HYBRID,
    "Nemotron-H": _HYBRID,
    "OLMo-2-7B": _NO_BRIDGE,
    "OLMoE": _HEADS,
    "Phi-4-mini": "rope_parameters.rope_type='longrope'",
    "Qwen2-Audio-7B": _ENCODERS,
    "Qwen2.5-Omni-7B": _ENCODERS,
    "Qwen2.5-VL-7B": _ENCODERS,
    "Qwen3-Omni-30B-A3B": _ENCODERS,
    "Qwen3-VL": _ENCODERS,
    "Qwen3-VL-30B-A3B": _ENCODERS,
    "Qwen3.5-27B": _ENCODERS,
    "Qwen3.5-35B-A3B": _ENCODERS,
}
IN_EVERY_TEST = {
    *("DeepSeek-V2-Lite", "ERNIE-4.5-21B-A3B", "Kimi-K2", "OLMo-2-7B", "Qwen2.5-VL-7B"),
    *("DeepSeek-V3", "ERNIE-4.5-0.3B", "GLM-4.7-Flash", "GPT-OSS", "K-EXAONE", "Phi-4", "Qwen3-Next"),
    *("Qwen3.5-35B-A3B-text", "Seed-OSS-36B"),
}
# Tensors that a model has twice: once for multi-token prediction. The class in transformers ignores them by the number of the
# real model's layer.
COPIED = {
    "GLM-4.7-Flash": {
        "model.layers.3.embed_tokens.weight": "model.embed_tokens.weight",
        "model.layers.3.shared_head.head.weight": "lm_head.weight",
    }
}

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
            copied = COPIED.get(request.param, {})
            add_tensors(hf, problem.names, copied)
            AutoBridge.import_ckpt(hf, folder / "root", release=True, allow_unused_tensors=list(copied))
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


@pytest.mark.cell("architecture", row="name", column="logits of Megatron-LM match")
@pytest.mark.parametrize("name", _params(list(REFUSED)))
def test_other_architecture_is_refused_with_the_reason(request, name, tmp_path):
    hf = save_architecture(tmp_path / "hf", name)
    with pytest.raises(ReleaseError) as raised:
        AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    assert REFUSED[name] in str(raised.value) and not (tmp_path / "root").exists()
    request.node.user_properties += [("outcome", "refused"), ("note", _reason(raised.value))]


def _reason(error: ReleaseError) -> str:
    """Return why a model is refused, for the table."""
    if not isinstance(error, UnsupportedConfigError):
        return "Megatron-Bridge has no bridge for the architecture"
    problem = error.problems[0].removesuffix(" Train it with Megatron-Bridge.").removesuffix(".")
    family, _, reason = problem.partition(" is not supported: ")
    return reason if family.startswith("model_type=") else problem
