# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Attention."""

import math
from typing import Any

import torch

from .module.base import TransformerEngineBaseModule, divide, filled


class DotProductAttention(TransformerEngineBaseModule):
    """See Transformer Engine."""

    def __init__(
        self,
        num_attention_heads: int,
        kv_channels: int | tuple[int, int],
        num_gqa_groups: int | None = None,
        attn_mask_type: str = "causal",
        window_size: tuple[int, int] | None = None,
        tp_size: int = 1,
        tp_group: Any = None,
        softmax_scale: float | None = None,
        softmax_type: str = "vanilla",
        return_max_logit: bool = False,
        **_: Any,
    ) -> None:
        super().__init__()
        self.tp_group, self.tp_size = tp_group, tp_size if tp_group is None else tp_group.size()
        self.attn_mask_type, self.window_size = attn_mask_type, window_size
        key_channels = kv_channels if isinstance(kv_channels, int) else kv_channels[0]
        self.softmax_scale = softmax_scale or 1 / math.sqrt(key_channels)
        self.softmax_type, self.return_max_logit = softmax_type, return_max_logit
        heads = divide(num_attention_heads, self.tp_size)
        if softmax_type == "learnable":
            # Float32, whatever the dtype of the other parameters.
            self.softmax_offset: torch.Tensor | None = filled((heads,), 0.0, None, torch.float32)
        else:
            self.softmax_offset = torch.zeros(heads) if softmax_type == "off-by-one" else None

    def compute(
        self,
        query_layer: torch.Tensor,
        key_layer: torch.Tensor,
        value_layer: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        qkv_format: str = "sbhd",
        attn_mask_type: str | None = None,
        window_size: tuple[int, int] | None = None,
        core_attention_bias: torch.Tensor | None = None,
        **_: Any,
    ) -> Any:
        if qkv_format != "sbhd":
            raise NotImplementedError("Packed sequences need Transformer Engine and CUDA.")
        query, key, value = (layer.permute(1, 2, 0, 3).float() for layer in (query_layer, key_layer, value_layer))
        repeats = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
        scores = query @ key.transpose(2, 3) * self.softmax_scale
        if core_attention_bias is not None:
            scores = scores + core_attention_bias
        hidden = _hidden(
            scores, attention_mask, attn_mask_type or self.attn_mask_type, window_size or self.window_size or (-1, -1)
        )
        scores = scores.masked_fill(hidden, -math.inf)
        if self.softmax_offset is None:
            weights = scores.softmax(-1).nan_to_num()
        else:
            # A column without a value takes its share of the attention.
            sink = self.softmax_offset.float().reshape(1, -1, 1, 1).expand(*scores.shape[:3], 1)
            weights = torch.cat([scores, sink], -1).softmax(-1)[..., :-1]
        out = (weights @ value).permute(2, 0, 1, 3).flatten(2).to(query_layer.dtype)
        return (out, scores.amax((0, 2, 3))) if self.return_max_logit else out


def _hidden(scores: torch.Tensor, mask: torch.Tensor | None, kind: str, window: tuple[int, int]) -> torch.Tensor:
    """Return which keys each query does not see."""
    queries, keys = scores.shape[-2:]
    positions = torch.arange(queries, device=scores.device) + (keys - queries if "bottom_right" in kind else 0)
    distance = torch.arange(keys, device=scores.device) - positions[:, None]
    hidden = distance > 0 if "causal" in kind else torch.zeros_like(distance, dtype=torch.bool)
    left, right = window
    if left >= 0:
        hidden = hidden | (distance < -left)
    if right >= 0:
        hidden = hidden | (distance > right)
    if mask is not None and ("padding" in kind or kind == "arbitrary"):
        hidden = hidden | mask
    return hidden
