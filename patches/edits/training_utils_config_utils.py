# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's training/utils/config_utils.py."""

from patches.edit import Edit
from patches.operations import InsertStatements


TARGET = "megatron/bridge/training/utils/config_utils.py"

EDITS = (
    Edit(
        name="own-values",
        symbol="_ConfigContainerBase._convert_value_to_dict",
        why="A run config describes the model, not the host that converted it, whoever saves it.",
        drop_when="upstream builds models on any host without changing the config that it saves.",
        do=InsertStatements("value = restore_model_values(value)"),
        imports=("from megatron.bridge.utils.host_compat import restore_model_values",),
    ),
)
