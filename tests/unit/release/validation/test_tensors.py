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


"""Quantized tensors are accounted for together with their scales, and names are listed as a person reads them."""

from types import SimpleNamespace

import pytest
import torch

from megatron.bridge.models.deepseek.deepseek_v3_bridge import DeepSeekV3Bridge
from megatron.bridge.release.source.safetensors_index import TensorInfo
from megatron.bridge.release.text import summarize_names
from megatron.bridge.release.validation.model_errors import QuantizationProblem, TensorDtypeProblem
from megatron.bridge.release.validation.tensors import TensorCoverage, _Conversions


NAME = "model.layers.0.mlp.down_proj.weight"


def _task(shape: tuple[int, ...]) -> SimpleNamespace:
    """The conversion of a parameter that is its tensor as it is."""
    mapping = SimpleNamespace(
        hf_param=NAME, hf_to_megatron=lambda weights, _: weights, megatron_to_hf=lambda weights, _: {NAME: weights}
    )
    return SimpleNamespace(
        mapping=mapping,
        megatron_module=object(),
        param_weight=torch.empty(shape, device="meta"),
        param_name="parameter",
    )


def _coverage(headers: dict[str, tuple[str, tuple[int, ...]]]) -> TensorCoverage:
    coverage = TensorCoverage()
    tensors = {name: TensorInfo(dtype, shape, "model.safetensors") for name, (dtype, shape) in headers.items()}
    _Conversions(DeepSeekV3Bridge(), tensors, coverage).check([_task(tensors[NAME].shape)], {NAME})
    return coverage


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2"])
@pytest.mark.parametrize(("shape", "scales"), [((256, 384), (2, 3)), ((200, 130), (2, 2)), ((1, 1), (1, 1))])
def test_fp8_with_scale_per_block_of_128_is_supported(dtype, shape, scales):
    coverage = _coverage({NAME: (dtype, shape), f"{NAME}_scale_inv": ("F32", scales)})
    assert coverage.problems == [] and coverage.used == {NAME, f"{NAME}_scale_inv"}


@pytest.mark.parametrize(
    "scale",
    [
        {},
        {f"{NAME}_scale": ("F32", (2, 3))},
        {f"{NAME}_scale_inv": ("F32", (4, 6))},
        {f"{NAME}_scale_inv": ("F32", (1, 1))},
    ],
    ids=["none", "of another name", "of smaller blocks", "of one block"],
)
def test_fp8_with_unsupported_scale_layout_is_refused(scale):
    (problem,) = _coverage({NAME: ("F8_E4M3", (256, 384))} | scale).problems
    assert isinstance(problem, QuantizationProblem) and NAME in problem.names


@pytest.mark.parametrize("dtype", ["I8", "U8", "I32"])
def test_integers_are_no_weights(dtype):
    (problem,) = _coverage({NAME: (dtype, (8, 8))}).problems
    assert isinstance(problem, QuantizationProblem)


def test_unsupported_tensor_dtype_is_reported():
    (problem,) = _coverage({NAME: ("F4", (8, 8))}).problems
    assert isinstance(problem, TensorDtypeProblem) and (problem.names, problem.dtypes) == ((NAME,), ("F4",))


def test_fp8_weight_is_dequantized_per_block():
    torch.manual_seed(0)
    weight, scales = torch.randn(200, 300).to(torch.float8_e4m3fn), torch.rand(2, 3) + 0.5
    whole = scales.repeat_interleave(128, 0).repeat_interleave(128, 1)[:200, :300]
    found = DeepSeekV3Bridge().maybe_modify_loaded_hf_weight(NAME, {NAME: weight, f"{NAME}_scale_inv": scales})
    assert torch.equal(found, (weight.float() * whole).to(torch.bfloat16))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["norm.weight"], "norm.weight"),
        ([f"layers.{i}.q" for i in range(32)], "layers.0…31.q (32)"),
        ([f"layers.{i}.q" for i in (0, 2, 5)], "layers.{0,2,5}.q (3)"),
        ([f"layers.{i}.q" for i in (0, 2, 4, 6, 9)], "layers.{0,2,4,6,…,9}.q (5)"),
        ([f"layers.{i}.experts.{j}.up" for i in range(2) for j in range(4)], "layers.0…1.experts.0…3.up (8)"),
        (["a.1.x", "b.weight", "a.0.x"], "a.0…1.x (2), b.weight"),
        (["w2.weight", "w3.weight"], "w2.weight, w3.weight"),
        (["layers.0.q", "layers.00.q"], "layers.0.q, layers.00.q"),
        (["layers.3.q", "layers.\u0663.q"], "layers.3.q, layers.\u0663.q"),
        ([f"layers.{'9' * 5000}.q"], f"layers.{'9' * 5000}.q"),
        (["a\nb", ""], r"'a\nb', ''"),
        ([], ""),
    ],
)
def test_summarize_names_groups_names_by_number(names, expected):
    assert summarize_names(names) == expected
