# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's models/common/te_layers.py."""

from patches.edit import Edit
from patches.operations import PassArgument


TARGET = "megatron/bridge/models/common/te_layers.py"

EDITS = (
    Edit(
        name="epsilon-after-linear-layers",
        symbol="TERowParallelLinearLayerNorm.__init__",
        why="The norms after the attention and the MLP of Gemma 2 and 3 had the default epsilon, not the model's.",
        drop_when="upstream passes the epsilon (5712).",
        do=PassArgument("TENorm", "eps=config.layernorm_epsilon"),
    ),
)
