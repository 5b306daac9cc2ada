# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/utils_instantiate_utils.py."""

from edit_snippets import EditSnippets, Snippet


class TestEdits(EditSnippets):
    FILE = "utils_instantiate_utils"
    SNIPPETS = {
        "private-layer-specs": Snippet(
            """
 def _validate_target_prefix(target):
-    if target not in _ALLOWED_PRIVATE_TARGETS:
+    if target not in {
+        *_ALLOWED_PRIVATE_TARGETS,
+        "megatron.bridge.models.ernie.ernie_45_bridge._ernie45_decoder_block_spec",
+        "megatron.bridge.models.exaone.exaone_moe.exaone_moe_provider._build_exaone_moe_layer_spec",
+    }:
         raise ValueError
""",
            ("_ALLOWED_PRIVATE_TARGETS", "_ALLOWED"),
            "    if target not in _ALLOWED_PRIVATE_TARGETS:\n        raise ValueError\n",
        ),
    }
