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

"""Refuses weights that are no numbers."""

from typing import Any

import torch

from megatron.bridge.release.compat.megatron_core_api import nested_items_iter
from megatron.bridge.training.utils.all_ranks import together


# It has neither NaN nor Inf, and torch converts it to no other type.
_FLOAT4 = getattr(torch, "float4_e2m1fn_x2", None)


def require_numbers_in(state_dict: dict[str, Any]) -> None:
    """Refuse a state dict with weights that are no numbers, on any rank. Collective.

    Args:
        state_dict: The sharded state dict to be saved.

    Raises:
        ValueError: As `require_numbers`.
    """
    together(lambda: _require_numbers_in(state_dict))


def _require_numbers_in(state_dict: dict[str, Any]) -> None:
    for _, name, entry in nested_items_iter(state_dict):
        data = entry if isinstance(entry, torch.Tensor) else getattr(entry, "data", None)
        if isinstance(data, torch.Tensor):
            require_numbers(data, getattr(entry, "key", name))


def require_numbers(values: torch.Tensor, key: str) -> None:
    """Refuse what is no number, or became infinite when it was rounded to the model's dtype.

    Args:
        values: The values.
        key: Their tensor's key in the checkpoint.

    Raises:
        ValueError: If there is such a value.
    """
    if not values.is_floating_point() or not values.numel() or values.dtype == _FLOAT4:
        return
    # torch computes nothing with eight bits.
    least, largest = torch.aminmax(values if values.itemsize > 1 else values.float())
    if torch.isnan(least):
        raise ValueError(f"{key} has values that are no numbers (NaN). Is the model damaged, or was it never loaded?")
    if torch.isinf(least) or torch.isinf(largest):
        dtype = str(values.dtype).removeprefix("torch.")
        raise ValueError(
            f"{key} has values that overflow in {dtype} (Inf). Set a wider dtype in config.json, or fix the model."
        )
