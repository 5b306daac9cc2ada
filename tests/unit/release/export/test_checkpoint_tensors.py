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
def test_the_dtype_is_the_widest_of_the_weights(stored, expected):
    assert widest_dtype(_tensors(EXPECTED), _tensors(stored), "folder") == expected


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({"a": torch.int8}, "a is int8 in folder"),
        ({"a": torch.float8_e4m3fn, "b": torch.float32}, "a is float8_e4m3fn in folder"),
        ({"b": torch.float64}, "b is float64 in folder"),
        ({"expert_bias": torch.float64}, "expert_bias is float64 in folder"),
        ({"a": torch.float32, "count": torch.float32}, "count is float32 in folder"),
        ({"expert_bias": torch.float32}, "folder contains no weights"),
    ],
)
def test_an_unsupported_dtype_is_refused(stored, message):
    with pytest.raises(ValueError, match=message):
        widest_dtype(_tensors(EXPECTED), _tensors(stored), "folder")
