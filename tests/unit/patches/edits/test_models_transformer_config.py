# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/models_transformer_config.py."""

from edit_snippets import EditSnippets, Snippet


class TestEdits(EditSnippets):
    FILE = "models_transformer_config"
    SNIPPETS = {
        "host-values": Snippet(
            '''
 class TransformerConfig:
     """A config."""

+    # By field, the model's own value and the one for this host, where `switch` has changed it.
+    _host_values = None
+
     num_layers = 1
''',
            ("TransformerConfig", "Config"),
        ),
        "fit-gpt": Snippet(
            """
+from megatron.bridge.utils.host_compat import switch_off_what_is_refused
+
+
 class TransformerConfig:
     def finalize(self):
+        switch_off_what_is_refused(self)
         return 1
""",
            ("finalize", "end"),
        ),
        "fit-mla": Snippet(
            """
+from megatron.bridge.utils.host_compat import switch_off_what_is_refused
+
+
 class MLATransformerConfig:
     def finalize(self):
+        switch_off_what_is_refused(self)
         return 1
""",
            ("MLA", ""),
        ),
        "fit-heterogeneous": Snippet(
            """
+from megatron.bridge.utils.host_compat import switch_off_what_is_refused
+
+
 class HeterogeneousTransformerConfig:
     def finalize(self):
+        switch_off_what_is_refused(self)
         return 1
""",
            ("finalize", "end"),
        ),
    }
