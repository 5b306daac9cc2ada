# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/tests_unit_tests_training_test_checkpointing.py."""

from edit_snippets import EditSnippets, Snippet


def _files_there(symbol: str, test: str, mock: str, there: str) -> Snippet:
    """Give the snippet of a test that says which files there are."""
    return Snippet(
        f"""
 class {symbol}:
     def {test}(self, {mock}):
-        {mock}.return_value = 1
+        {mock}.side_effect = lambda path: {there}
         check()
""",
        (f"{mock}.return", "mock.return"),
        f"        {mock}.return_value = 1\n",
    )


_NOT_TEXT = ("mock_file_exists", 'not path.endswith(".txt")')


class TestEdits(EditSnippets):
    FILE = "tests_unit_tests_training_test_checkpointing"
    SNIPPETS = {
        "bridge-tracker": _files_there(
            "TestCheckpointIterationResolution", "test_loads_from_bridge_tracker", *_NOT_TEXT
        ),
        "bridge-tracker-latest": _files_there(
            "TestCheckpointIterationResolution", "test_ignore_ckpt_step_loads_latest", *_NOT_TEXT
        ),
        "bridge-tracker-unknown-format": _files_there(
            "TestLoadBaseCheckpoint", "test_load_base_checkpoint_non_distributed_error", *_NOT_TEXT
        ),
        "unknown-format": _files_there(
            "TestFSDPDTensorFunctionality",
            "test_get_checkpoint_format_unknown",
            "mock_exists",
            'path == "/path/to/checkpoint"',
        ),
    }
