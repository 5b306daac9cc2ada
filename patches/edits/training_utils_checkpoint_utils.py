# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's training/utils/checkpoint_utils.py."""

from patches.edit import Edit
from patches.operations import AddParameter, InsertStatements, PassArgument, ReplaceExpression, ReplaceStatement


TARGET = "megatron/bridge/training/utils/checkpoint_utils.py"

_FOLLOWS = "upstream's function follows the tracker."

EDITS = (
    Edit(
        name="hf-model-id",
        symbol="get_hf_model_id_from_checkpoint",
        why="It looked for iter_* folders alone, and took the highest one where the tracker names another.",
        drop_when=_FOLLOWS,
        do=InsertStatements(
            """
            # checkpointing imports this module.
            from megatron.bridge.training.checkpointing import find_checkpoint_folder

            path = find_checkpoint_folder(path)
            """
        ),
    ),
    Edit(
        name="run-config-locally",
        symbol="read_run_config",
        why="Who only looks at a checkpoint does so on one rank: a broadcast would wait for the others forever.",
        drop_when="upstream's read_run_config can be called on one rank.",
        do=(
            AddParameter(
                "broadcast: bool = True",
                doc="broadcast: Whether rank 0 reads for every rank; else this rank does. Default is True.",
            ),
            ReplaceExpression("torch.distributed.is_initialized()", "broadcast and __old__"),
        ),
    ),
    Edit(
        name="hf-model-id-locally",
        symbol="get_hf_model_id_from_checkpoint",
        why="Megatron-LM, which may have saved into the root since, writes no run config. It only looks at a checkpoint, which "
        "one rank may do alone.",
        drop_when=_FOLLOWS,
        do=(
            ReplaceStatement(
                "from megatron.bridge.training.utils.checkpoint_resolver import resolve_run_config_folder",
                imports="find_checkpoint_folder",
                was="f477c9ac54fd",
            ),
            ReplaceExpression("find_checkpoint_folder(path)", "resolve_run_config_folder(path)"),
            PassArgument("read_run_config", "broadcast=False"),
        ),
    ),
)
