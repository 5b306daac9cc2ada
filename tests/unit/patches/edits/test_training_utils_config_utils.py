# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/training_utils_config_utils.py."""

from edit_snippets import EditSnippets, Snippet


class TestEdits(EditSnippets):
    FILE = "training_utils_config_utils"
    SNIPPETS = {
        "own-values": Snippet(
            """
+from megatron.bridge.utils.host_compat import restore_model_values
+
+
 class _ConfigContainerBase:
     @classmethod
     def _convert_value_to_dict(cls, value):
+        value = restore_model_values(value)
         return value
""",
            ("_convert_value", "_convert"),
        ),
    }
