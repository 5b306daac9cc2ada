# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's tests/unit_tests/training/test_model_load_save.py."""

from patches.edit import Edit
from patches.operations import PassArgument


TARGET = "tests/unit_tests/training/test_model_load_save.py"

_TESTS = (
    "test_save_megatron_model",
    "test_save_megatron_model_with_tokenizer",
    "test_save_megatron_model_without_tokenizer",
)


def _expect(what: str, argument: str) -> tuple[Edit, ...]:
    """Let the tests that name every keyword of a save name another one."""
    return tuple(
        Edit(
            name=f"{what}-{test.removeprefix('test_').replace('_', '-')}",
            symbol=f"TestSaveMegatronModel.{test}",
            why="It names every keyword of the call, which has another one now.",
            drop_when="upstream's test names it, or less.",
            do=PassArgument("mock_save_checkpoint.assert_called_once_with", argument),
        )
        for test in _TESTS
    )


EDITS = (
    *_expect("release", "release=False"),
    *_expect("writer", "checkpointing_context=None"),
)
