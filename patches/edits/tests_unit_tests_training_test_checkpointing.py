# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's tests/unit_tests/training/test_checkpointing.py."""

from patches.edit import Edit
from patches.operations import ReplaceStatement


TARGET = "tests/unit_tests/training/test_checkpointing.py"


def _bridge_tracker_alone(name: str, symbol: str) -> Edit:
    return Edit(
        name=name,
        symbol=symbol,
        why="It is a test of latest_train_state.pt, and let every file exist: the text tracker, which decides, too.",
        drop_when="upstream's test says which files there are.",
        do=ReplaceStatement(
            'mock_file_exists.side_effect = lambda path: not path.endswith(".txt")',
            assigns="mock_file_exists.return_value",
            was="b3ec5386361d",
        ),
    )


EDITS = (
    _bridge_tracker_alone("bridge-tracker", "TestCheckpointIterationResolution.test_loads_from_bridge_tracker"),
    _bridge_tracker_alone(
        "bridge-tracker-latest", "TestCheckpointIterationResolution.test_ignore_ckpt_step_loads_latest"
    ),
    _bridge_tracker_alone(
        "bridge-tracker-unknown-format", "TestLoadBaseCheckpoint.test_load_base_checkpoint_non_distributed_error"
    ),
    Edit(
        name="unknown-format",
        symbol="TestFSDPDTensorFunctionality.test_get_checkpoint_format_unknown",
        why="A folder that is not there has another error now than one of an unknown format.",
        drop_when="upstream's test has a folder.",
        do=ReplaceStatement(
            'mock_exists.side_effect = lambda path: path == "/path/to/checkpoint"',
            assigns="mock_exists.return_value",
            was="1d06d1979f0c",
        ),
    ),
)
