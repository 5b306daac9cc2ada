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

"""The dtype of an export represents all weights of the checkpoint."""

from types import SimpleNamespace

import pytest
import torch

from megatron.bridge.release.export.checkpoint_tensors import widest_dtype
from megatron.bridge.release.export.errors import NoWeightsError, TensorDtypeError


EXPECTED = {"a": torch.bfloat16, "b": torch.bfloat16, "expert_bias": torch.float32, "count": torch.int64}


def _tensors(dtypes: dict[str, torch.dtype]) -> dict[str, SimpleNamespace]:
    return {key: SimpleNamespace(dtype=dtype) for key, dtype in dtypes.items()}


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ({"a": torch.bfloat16, "b": torch.bfloat16}, torch.bfloat16),
        ({"a": torch.bfloat16, "b": torch.float32}, torch.float32),
        ({"a": torch.float16, "b": torch.float16}, torch.float16),
        ({"a": torch.float16, "b": torch.bfloat16}, torch.float32),
        ({"a": torch.bfloat16, "expert_bias": torch.float32, "count": torch.int64}, torch.bfloat16),
        # A second key of a norm.
        ({"a": torch.bfloat16, "alias": torch.float32}, torch.float32),
    ],
)
def test_dtype_is_the_widest_of_the_weights(stored, expected):
    assert widest_dtype(_tensors(EXPECTED), _tensors(stored), "folder") == expected


@pytest.mark.parametrize(
    ("stored", "name", "dtype"),
    [
        ({"a": torch.int8}, "a", "int8"),
        ({"a": torch.float8_e4m3fn, "b": torch.float32}, "a", "float8_e4m3fn"),
        ({"b": torch.float64}, "b", "float64"),
        ({"expert_bias": torch.float64}, "expert_bias", "float64"),
        ({"a": torch.float32, "count": torch.float32}, "count", "float32"),
    ],
)
def test_unsupported_dtype_is_refused(stored, name, dtype):
    with pytest.raises(TensorDtypeError) as raised:
        widest_dtype(_tensors(EXPECTED), _tensors(stored), "folder")
    assert (raised.value.name, raised.value.dtype) == (name, dtype)


def test_checkpoint_without_weights_is_refused():
    with pytest.raises(NoWeightsError):
        widest_dtype(_tensors(EXPECTED), _tensors({"expert_bias": torch.float32}), "folder")
