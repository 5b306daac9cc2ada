# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/models_conversion_utils.py."""

from edit_snippets import EditSnippets, Snippet


class TestEdits(EditSnippets):
    FILE = "models_conversion_utils"
    SNIPPETS = {
        "native-despite-auto-map": Snippet(
            '''
+from megatron.bridge.models.conversion.own_code import is_of_transformers
+
+
 def get_causal_lm_class_name_via_auto_map(config):
     """Name it."""
+    if is_of_transformers(config):
+        return None
     return config.auto_map
''',
            ("get_causal_lm_class_name_via_auto_map", "get_name"),
        ),
    }
