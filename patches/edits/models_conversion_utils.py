# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's models/conversion/utils.py."""

from patches.edit import Edit
from patches.operations import InsertStatements


TARGET = "megatron/bridge/models/conversion/utils.py"

EDITS = (
    Edit(
        name="native-despite-auto-map",
        symbol="get_causal_lm_class_name_via_auto_map",
        why="A Llama whose config names code of its own was refused, though transformers makes a Llama of it.",
        drop_when="upstream takes a model of a known architecture whose config has an auto_map.",
        do=InsertStatements(
            """
            # transformers has read the config with its own class, and makes the model with its own class too.
            if type(config).__module__.startswith("transformers.models."):
                return None
            """
        ),
    ),
)
