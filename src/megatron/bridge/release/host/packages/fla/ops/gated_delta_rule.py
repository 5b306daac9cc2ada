# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

from typing import Any

import torch


def chunk_gated_delta_rule(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    beta: torch.Tensor,
    output_final_state: bool = False,
    **_: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Compute the gated delta rule position by position, in float32.

    Args:
        q, k, v: Queries, keys and values, [batch, positions, heads, size].
        g: Logarithms of the decay of the state, [batch, positions, heads].
        beta: Shares of the new values, [batch, positions, heads].
        output_final_state: Whether to return the state after the last position.
    """
    dtype = q.dtype
    q, k, v, g, beta = (tensor.float() for tensor in (q, k, v, g, beta))
    q = q * q.shape[-1] ** -0.5
    state = q.new_zeros(q.shape[0], q.shape[2], q.shape[3], v.shape[3])
    out = torch.empty_like(v)
    for position in range(q.shape[1]):
        key = k[:, position, :, :, None]
        state = state * g[:, position].exp()[..., None, None]
        recalled = (state * key).sum(-2)
        change = (v[:, position] - recalled) * beta[:, position][..., None]
        state = state + key * change[..., None, :]
        out[:, position] = (state * q[:, position, :, :, None]).sum(-2)
    return out.to(dtype), state if output_final_state else None
