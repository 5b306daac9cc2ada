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

"""Compares the output layer of a model that ties it with its embedding, where the files hold both."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from megatron.bridge.models.hf_pretrained.state import SafeTensorsStateSource
from megatron.bridge.release.source.dtypes import FLOAT_DTYPES, TORCH_DTYPES
from megatron.bridge.release.source.safetensors_index import TensorInfo
from megatron.bridge.release.validation.tensors import Account


_ROWS = 4096


def tied_problems(source: Any, account: Account, headers: Mapping[str, TensorInfo]) -> list[str]:
    """Compare what the files hold of a tied output layer with the embedding, byte by byte, in the wider dtype.

    Args:
        source: The model's source of tensors.
        account: What becomes of the model's tensors.
        headers: What the files say of each tensor.

    Returns:
        What is wrong, a sentence for each output layer that differs.
    """
    problems = []
    for name, embedding in account.tied.items():
        one, other = headers[name], headers[embedding]
        if one.shape != other.shape or (one.dtype != other.dtype and not _are_plain(one, other)):
            equal = False
        elif isinstance(source, SafeTensorsStateSource):
            equal = _equal_rows(source.path, headers, name, embedding)
        else:
            tensors = source.load_tensors([name, embedding])
            equal = _are_equal(tensors[name], tensors[embedding])
        if not equal:
            problems.append(
                f"{name} differs from {embedding}, and the config says tie_word_embeddings: true, by which Megatron-LM "
                "has one for both. Let the config say false, or take the tensor that the model does not use away."
            )
    return problems


def _equal_rows(folder: Path, headers: Mapping[str, TensorInfo], one: str, other: str) -> bool:
    with (
        safe_open(folder / headers[one].file, framework="pt") as first,
        safe_open(folder / headers[other].file, framework="pt") as second,
    ):
        if not headers[one].shape:
            return _are_equal(first.get_tensor(one), second.get_tensor(other))
        slices = first.get_slice(one), second.get_slice(other)
        for row in range(0, headers[one].shape[0], _ROWS):
            if not _are_equal(*(part[row : row + _ROWS] for part in slices)):
                return False
    return True


def _are_plain(*headers: TensorInfo) -> bool:
    return all(TORCH_DTYPES.get(header.dtype) in FLOAT_DTYPES for header in headers)


def _are_equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.dtype != other.dtype:
        wider = torch.promote_types(one.dtype, other.dtype)
        one, other = one.to(wider), other.to(wider)
    return torch.equal(*(tensor.reshape(-1).contiguous().view(torch.uint8) for tensor in (one, other)))
