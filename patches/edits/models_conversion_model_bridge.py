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
        name="partial-rotary-factor",
        symbol="MegatronModelBridge.hf_config_to_provider_kwargs",
        why="transformers 5 reads partial_rotary_factor from rope_parameters alone, and writes it nowhere else.",
        drop_when="upstream's mapping reads it from rope_parameters.",
        do=InsertStatements(
            """
            rope_parameters = getattr(hf_config, "rope_parameters", None) or {}
            if "partial_rotary_factor" in rope_parameters:
                provider_kwargs["rotary_percent"] = rope_parameters["partial_rotary_factor"]
            """,
            before_call="issubclass",
        ),
    ),
    Edit(
        name="keys-as-a-set",
        symbol="MegatronModelBridge.build_conversion_tasks",
        why="Each parameter's tensors are looked for among all names: in a list, the time is the square of their number.",
        drop_when="upstream looks them up in a set.",
        do=ReplaceExpression("hf_pretrained.state.source.get_all_keys(...)", "set(__old__)"),
    ),
)
