# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/peft_lora_layers.py."""

from edit_snippets import EditSnippets, Snippet


class TestEdits(EditSnippets):
    FILE = "peft_lora_layers"
    SNIPPETS = {
        "transformer-engine": Snippet(
            """
+from __future__ import annotations
+
 import a
-import transformer_engine.pytorch as engine
+
+
+try:
+    import transformer_engine.pytorch as te
+except ImportError:
+    te = None
 import z
+

 a, z
""",
            ("transformer_engine", "engine"),
            "import transformer_engine.pytorch as engine\n",
        ),
    }
