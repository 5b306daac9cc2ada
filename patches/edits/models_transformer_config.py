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
        why="Megatron Core refuses configs with fusions that the host does not support.",
        drop_when="upstream disables unsupported features in the model only, and keeps them in the config.",
        do=InsertStatements("disable_refused(self)"),
        imports=("from megatron.bridge.utils.host_compat import disable_refused",),
    )


EDITS = (
    Edit(
        name="host-values",
        symbol="TransformerConfig",
        why="A config whose features were disabled keeps the model's values, also in its copies.",
        drop_when="upstream disables unsupported features in the model only, and keeps them in the config.",
        do=InsertStatements(
            """
            # Maps each field that `override_for_host` changed to the model's value and this host's.
            _host_values = None
            """
        ),
    ),
    _fit("fit-gpt", "TransformerConfig.finalize"),
    _fit("fit-mla", "MLATransformerConfig.finalize"),
    _fit("fit-heterogeneous", "HeterogeneousTransformerConfig.finalize"),
)
