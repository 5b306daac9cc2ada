# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Refuses weights that contain NaN or Inf."""

from typing import Any

import torch

from megatron.bridge.release.compat.megatron_core_api import nested_items_iter
from megatron.bridge.release.validation.model_errors import NonFiniteError
from megatron.bridge.training.utils.collectives import run_on_all_ranks


# It has neither NaN nor Inf, and torch cannot convert it.
_FLOAT4 = getattr(torch, "float4_e2m1fn_x2", None)


def check_state_dict_finite(state_dict: dict[str, Any]) -> None:
    """Check the tensors of a sharded state dict. Collective.

    Raises:
        NonFiniteError: If one contains NaN or Inf, on any rank.
    """

    def check() -> None:
        for _, name, entry in nested_items_iter(state_dict):
            data = entry if isinstance(entry, torch.Tensor) else getattr(entry, "data", None)
            if isinstance(data, torch.Tensor):
                check_finite(data, getattr(entry, "key", name))

    run_on_all_ranks(check)


def check_finite(values: torch.Tensor, key: str) -> None:
    """Check the values of a tensor, which a cast to the dtype of the release may have made infinite.

    Raises:
        NonFiniteError: If one is NaN or Inf.
    """
    if not values.is_floating_point() or not values.numel() or values.dtype == _FLOAT4:
        return
    # aminmax() does not support 8-bit dtypes.
    least, largest = torch.aminmax(values if values.itemsize > 1 else values.float())
    dtype = str(values.dtype).removeprefix("torch.")
    if torch.isnan(least):
        raise NonFiniteError(key, "NaN", dtype)
    if torch.isinf(least) or torch.isinf(largest):
        raise NonFiniteError(key, "Inf", dtype)
