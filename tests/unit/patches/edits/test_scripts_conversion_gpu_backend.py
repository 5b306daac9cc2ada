# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/scripts_conversion_gpu_backend.py."""

from edit_snippets import EditSnippets, Snippet


class TestEdits(EditSnippets):
    FILE = "scripts_conversion_gpu_backend"
    SNIPPETS = {
        "import-release": Snippet(
            '''
-def import_checkpoint(*, model):
+def import_checkpoint(*, model, release: bool = False):
     """Import it.

     Args:
         model: It.
+        release: Write the release checkpoint that Megatron-LM fine-tunes from.
     """
-    bridge.save_megatron_model(model)
+    bridge.save_megatron_model(model, release=release)
''',
            ("save_megatron_model", "save"),
            "    bridge.save_megatron_model(model)\n",
        ),
    }
