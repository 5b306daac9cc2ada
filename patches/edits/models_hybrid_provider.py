# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's models/hybrid/hybrid_provider.py."""

from patches.edit import Edit
from patches.operations import ReplaceStatement


TARGET = "megatron/bridge/models/hybrid/hybrid_provider.py"

EDITS = (
    Edit(
        name="gradient-accumulation-fusion",
        symbol="HybridModelProvider",
        why="The default is the model's; fit_to_host switches it off where the host lacks it, and the run config keeps it.",
        drop_when="upstream's default does not depend on the host.",
        do=ReplaceStatement(
            "gradient_accumulation_fusion: bool = True", assigns="gradient_accumulation_fusion", was="3acae0a61c77"
        ),
        unused=("dataclasses.field", "megatron.bridge.utils.fusions"),
    ),
)
