# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/init.py."""

from edit_snippets import EditSnippets, Snippet


class TestEdits(EditSnippets):
    FILE = "init"
    SNIPPETS = {
        "lazy": Snippet(
            '''
-import megatron.bridge.diffusion.models
-import megatron.bridge.models
-from a import AutoBridge
+from importlib import import_module
+from typing import Any
+
 from b import c
+
+
+def __getattr__(name: str) -> Any:
+    """Load and register all models when an attribute is first used."""
+    if not name.startswith("__"):
+        bridge = import_module("megatron.bridge.models.conversion.auto_bridge")
+        globals()["AutoBridge"] = bridge.AutoBridge
+        if name in globals():
+            return globals()[name]
+    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
''',
            ("import megatron.bridge.models\n", "import other\n"),
            "import megatron.bridge.models\n",
        ),
    }
