# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's models/conversion/param_mapping.py."""

from patches.edit import Edit
from patches.operations import ReplaceExpression


TARGET = "megatron/bridge/models/conversion/param_mapping.py"

EDITS = (
    Edit(
        name="replicated-without-cuda",
        symbol="ReplicatedMapping.hf_to_megatron",
        why="A host without CUDA has no current device, and gloo broadcasts from where the tensor is.",
        drop_when="upstream's mapping runs on a host without CUDA at TP > 1.",
        do=ReplaceExpression(
            "target_device.index != torch.cuda.current_device()", "torch.cuda.is_available() and __old__"
        ),
    ),
)
