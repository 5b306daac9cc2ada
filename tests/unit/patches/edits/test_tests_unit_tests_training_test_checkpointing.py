# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/tests_unit_tests_training_test_checkpointing.py."""

from edit_snippets import EditSnippets, Snippet


class TestEdits(EditSnippets):
    FILE = "tests_unit_tests_training_test_checkpointing"
    SNIPPETS = {
        "bridge-tracker": Snippet(
            """
 class TestCheckpointIterationResolution:
     def test_loads_from_bridge_tracker(self, mock_file_exists):
-        mock_file_exists.return_value = 1
+        mock_file_exists.side_effect = lambda path: not path.endswith(".txt")
         check()
""",
            ("mock_file_exists.return", "mock.return"),
            "        mock_file_exists.return_value = 1\n",
        ),
        "bridge-tracker-latest": Snippet(
            """
 class TestCheckpointIterationResolution:
     def test_ignore_ckpt_step_loads_latest(self, mock_file_exists):
-        mock_file_exists.return_value = 1
+        mock_file_exists.side_effect = lambda path: not path.endswith(".txt")
         check()
""",
            ("mock_file_exists.return", "mock.return"),
            "        mock_file_exists.return_value = 1\n",
        ),
        "bridge-tracker-unknown-format": Snippet(
            """
 class TestLoadBaseCheckpoint:
     def test_load_base_checkpoint_non_distributed_error(self, mock_file_exists):
-        mock_file_exists.return_value = 1
+        mock_file_exists.side_effect = lambda path: not path.endswith(".txt")
         check()
""",
            ("mock_file_exists.return", "mock.return"),
            "        mock_file_exists.return_value = 1\n",
        ),
        "unknown-format": Snippet(
            """
 class TestFSDPDTensorFunctionality:
     def test_get_checkpoint_format_unknown(self, mock_exists):
-        mock_exists.return_value = 1
+        mock_exists.side_effect = lambda path: path == "/path/to/checkpoint"
         check()
""",
            ("mock_exists.return", "mock.return"),
            "        mock_exists.return_value = 1\n",
        ),
    }
