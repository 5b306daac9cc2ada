# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

from typing import Any

import torch
from torch.nn import functional as F


def causal_conv1d(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, activation: str | None = None, **_: Any
) -> tuple[torch.Tensor, None]:
    """Convolve each channel with the positions before it.

    Args:
        x: Input, [batch, positions, channels].
        weight: Weights, [channels, width].
        bias: Bias, [channels].
        activation: ``"silu"`` or None.
    """
    width = weight.shape[-1]
    padded = F.pad(x.transpose(1, 2), (width - 1, 0))
    out = F.conv1d(padded, weight.reshape(-1, 1, width).to(x.dtype), bias, groups=x.shape[-1]).transpose(1, 2)
    return (F.silu(out) if activation in ("silu", "swish") else out), None
