# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's models/transformer_config.py."""

from patches.edit import Edit
from patches.operations import InsertStatements


TARGET = "megatron/bridge/models/transformer_config.py"


def _fit(name: str, symbol: str) -> Edit:
    return Edit(
        name=name,
        symbol=symbol,
        why="Megatron Core refuses, in a config, fusions that its host has not.",
        drop_when="upstream's finalize leaves what its host lacks out of the model and in the config.",
        do=InsertStatements("switch_off_what_is_refused(self)"),
        imports=("from megatron.bridge.utils.host_compat import switch_off_what_is_refused",),
    )


EDITS = (
    Edit(
        name="host-values",
        symbol="TransformerConfig",
        why="A config that was fitted to its host knows the model's own values, wherever it is copied.",
        drop_when="upstream's finalize leaves what its host lacks out of the model and in the config.",
        do=InsertStatements(
            """
            # By field, the model's own value and the one for this host, where `switch` has changed it.
            _host_values = None
            """
        ),
    ),
    _fit("fit-gpt", "TransformerConfig.finalize"),
    _fit("fit-mla", "MLATransformerConfig.finalize"),
    _fit("fit-heterogeneous", "HeterogeneousTransformerConfig.finalize"),
)
