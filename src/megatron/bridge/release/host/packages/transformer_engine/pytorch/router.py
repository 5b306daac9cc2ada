# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Fused routing, which Megatron Core imports, and calls only if a config enables it."""

from typing import Any, NoReturn


def fused_compute_score_for_moe_aux_loss(*_: Any, **__: Any) -> NoReturn:
    """Route with a kernel."""
    raise NotImplementedError("Fused routing needs Transformer Engine and CUDA.")


fused_moe_aux_loss = fused_topk_with_score_function = fused_compute_score_for_moe_aux_loss
