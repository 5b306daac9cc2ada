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

"""NaN and Inf are found in every dtype, and in every kind of entry of a state dict."""

from types import SimpleNamespace

import pytest
import torch

from megatron.bridge.release.validation.finite import check_finite, check_state_dict_finite
from megatron.bridge.release.validation.model_errors import NonFiniteError


DTYPES = [
    torch.float64,
    torch.float32,
    torch.bfloat16,
    torch.float16,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nan_and_inf_are_refused_in_every_dtype(dtype):
    check_finite(torch.tensor([0.0, -1.0, 2.0]).to(dtype), "weight")
    with pytest.raises(NonFiniteError) as raised:
        check_finite(torch.tensor([0.0, float("nan")]).to(dtype), "weight")
    assert (raised.value.key, raised.value.value) == ("weight", "NaN")
    if dtype is not torch.float8_e4m3fn:
        # It has no infinity.
        with pytest.raises(NonFiniteError) as raised:
            check_finite(torch.tensor([0.0, -float("inf")]).to(dtype), "weight")
        assert (raised.value.value, raised.value.dtype) == ("Inf", str(dtype).removeprefix("torch."))


@pytest.mark.parametrize(
    "values",
    [torch.empty(0), torch.tensor([1, 2]), torch.tensor([True]), torch.zeros(2, dtype=torch.uint8)],
    ids=lambda values: str(values.dtype),
)
def test_check_finite_accepts_empty_and_integer_tensors(values):
    check_finite(values, "weight")


def test_values_of_four_bits_are_left_alone():
    if not hasattr(torch, "float4_e2m1fn_x2"):
        pytest.skip("this torch has no such dtype")
    check_finite(torch.zeros(2, dtype=torch.uint8).view(torch.float4_e2m1fn_x2), "weight")


@pytest.mark.parametrize("wrap", [lambda data: data, lambda data: SimpleNamespace(data=data, key="the key")])
def test_check_state_dict_finite_checks_every_entry(wrap):
    good, bad = wrap(torch.ones(2)), wrap(torch.tensor([float("nan")]))
    check_state_dict_finite({"model": {"weight": good}, "iteration": 0, "args": SimpleNamespace(), "list": [good]})
    for state in ({"model": {"weight": bad}}, {"list": [good, bad]}):
        with pytest.raises(NonFiniteError):
            check_state_dict_finite(state)
    with pytest.raises(NonFiniteError) as raised:
        check_state_dict_finite({"model": {"weight": bad}})
    assert raised.value.key == ("weight" if bad is wrap(bad) else "the key")
