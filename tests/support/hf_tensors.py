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

"""Hugging Face folders that must hold the same tensors, bit by bit."""

from pathlib import Path

import torch
from safetensors import safe_open

from megatron.bridge import AutoBridge


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Tell whether two tensors are the same, a NaN and the sign of a zero included."""
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    return torch.equal(*(tensor.contiguous().flatten().view(torch.uint8) for tensor in (one, other)))


def assert_same_tensors(found: Path, expected: Path) -> int:
    """Assert that each file of a Hugging Face model is there, with the same tensors; tell how many they are."""
    files = sorted(expected.glob("*.safetensors"))
    assert files, f"{expected} holds no tensors"
    compared = 0
    for file in files:
        with safe_open(file, "pt") as right, safe_open(found / file.name, "pt") as mine:
            assert set(mine.keys()) == set(right.keys())
            for name in right.keys():
                assert same_bits(mine.get_tensor(name), right.get_tensor(name)), name
                compared += 1
    return compared


def assert_exported(hf: Path, root: Path, to: Path) -> None:
    """Export a checkpoint root, and assert that it gives the tensors of a Hugging Face model.

    Args:
        hf: The model's folder.
        root: The root that was made of it.
        to: Where to export to.
    """
    AutoBridge.from_hf_pretrained(hf).export_ckpt(root, to, show_progress=False)
    assert_same_tensors(to, hf)
