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
+from importlib.util import find_spec
+from typing import Any
+
 from b import c
+
 
 __all__ = [c]
+
+
+def __getattr__(name: str) -> Any:
+    """Load and register all models when they are first used; the package `release` needs none."""
+    if name != "AutoBridge" and find_spec(f"{__name__}.{name}") is None:
+        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
+    if name != "release":
+        bridge = import_module("megatron.bridge.models.conversion.auto_bridge")
+        globals()["AutoBridge"] = bridge.AutoBridge
+    return globals()["AutoBridge"] if name == "AutoBridge" else import_module(f"{__name__}.{name}")
+
+
+def __dir__() -> list[str]:
+    """Name also what is not loaded yet."""
+    return sorted({*globals(), *__all__})
''',
            ("import megatron.bridge.models\n", "import other\n"),
            "import megatron.bridge.models\n",
        ),
    }
