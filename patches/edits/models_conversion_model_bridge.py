# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's models/conversion/model_bridge.py."""

from patches.edit import Edit
from patches.operations import InsertStatements, ReplaceExpression


TARGET = "megatron/bridge/models/conversion/model_bridge.py"

EDITS = (
    Edit(
        name="warn-without-source",
        symbol="MegatronModelBridge.load_weights_hf_to_megatron",
        why="A parameter without a source keeps whatever its memory held. A log line for each was all that told of it.",
        drop_when="upstream refuses or lists parameters without a source.",
        do=InsertStatements(
            "warn_unmapped_parameters(self, unwrapped_model_list, hf_to_megatron_tasks)",
            after_call="self.build_conversion_tasks",
        ),
        imports=("from megatron.bridge.models.conversion.unmapped_parameters import warn_unmapped_parameters",),
    ),
    Edit(
        name="keys-as-a-set",
        symbol="MegatronModelBridge.build_conversion_tasks",
        why="Each parameter's tensors are looked for among all names: in a list, the time is the square of their number.",
        drop_when="upstream looks them up in a set.",
        do=ReplaceExpression("hf_pretrained.state.source.get_all_keys(...)", "set(__old__)"),
    ),
)
