# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Llama 3's rope scaling factor, which Megatron-LM parses but does not pass to its model.

Importing this module imports neither torch nor Megatron Core.
"""

from typing import Any


# Factor that Megatron-LM's own builders use up to core 0.20, regardless of --rope-scaling-factor.
BUILT_IN_ROPE_SCALING_FACTOR = 8.0

ENTRY_POINT = "megatron.bridge.release.megatron_lm"

# Only the entry point accepts this flag: a launch without the entry point fails in Megatron-LM's parser.
ENTRY_POINT_FLAG = f"--entry-point={ENTRY_POINT}"

# Attribute of Megatron-LM's args, which are saved in checkpoints: the factor of the model that the entry point built.
BUILT_FACTOR = "built_rope_scaling_factor"


def is_factor_ignored(use_rope_scaling: Any, rope_scaling_factor: Any) -> bool:
    """Return whether Megatron-LM's own builder ignores the factor in its arguments."""
    return bool(use_rope_scaling) and rope_scaling_factor not in (None, BUILT_IN_ROPE_SCALING_FACTOR)
