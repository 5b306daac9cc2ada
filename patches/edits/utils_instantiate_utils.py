# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's utils/instantiate_utils.py."""

from patches.edit import Edit
from patches.operations import ReplaceExpression


TARGET = "megatron/bridge/utils/instantiate_utils.py"

EDITS = (
    Edit(
        name="private-layer-specs",
        symbol="_validate_target_prefix",
        why="The run configs of ERNIE 4.5 and of EXAONE-MoE name private functions of their bridges, so that no checkpoint of "
        "theirs loaded again.",
        drop_when="upstream loads the checkpoints of these models.",
        do=ReplaceExpression(
            "_ALLOWED_PRIVATE_TARGETS",
            """{
                *__old__,
                "megatron.bridge.models.ernie.ernie_45_bridge._ernie45_decoder_block_spec",
                "megatron.bridge.models.exaone.exaone_moe.exaone_moe_provider._build_exaone_moe_layer_spec",
            }""",
        ),
    ),
)
