# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/models_conversion_utils.py."""

from edit_snippets import EditSnippets, Snippet


class TestEdits(EditSnippets):
    FILE = "models_conversion_utils"
    SNIPPETS = {
        "native-despite-auto-map": Snippet(
            '''
 def get_causal_lm_class_name_via_auto_map(config):
     """Name it."""
+    # transformers has read the config with its own class, and makes the model with its own class too.
+    if type(config).__module__.startswith("transformers.models."):
+        return None
     return config.auto_map
''',
            ("get_causal_lm_class_name_via_auto_map", "get_name"),
        ),
    }
