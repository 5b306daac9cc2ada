# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/models_hybrid_provider.py."""

from edit_snippets import EditSnippets, Snippet


class TestEdits(EditSnippets):
    FILE = "models_hybrid_provider"
    SNIPPETS = {
        "gradient-accumulation-fusion": Snippet(
            """
 from dataclasses import dataclass, field
-
-from megatron.bridge.utils import fusions


 @dataclass
 class HybridModelProvider:
-    gradient_accumulation_fusion: int = field(fusions)
+    gradient_accumulation_fusion: bool = True
     other: int = field(2)
""",
            ("gradient_accumulation_fusion", "fusion"),
            "    gradient_accumulation_fusion: int = field(fusions)\n",
        ),
    }
