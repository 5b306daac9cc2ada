# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/scripts_conversion_run_conversion.py."""

from edit_snippets import EditSnippets, Snippet


class TestEdits(EditSnippets):
    FILE = "scripts_conversion_run_conversion"
    SNIPPETS = {
        "import-release": Snippet(
            '''
 def _run_import(args):
     """Import it."""
+    release_kwargs = {"release": True} if args.release else {}
     if args.cpu:
-        cpu_backend.import_checkpoint(**a)
+        cpu_backend.import_checkpoint(**release_kwargs, **a)
         return
-    gpu_backend.import_checkpoint(**a, b=1)
+    gpu_backend.import_checkpoint(**release_kwargs, **a, b=1)
''',
            ("gpu_backend", "backend"),
            "    gpu_backend.import_checkpoint(**a, b=1)\n",
        ),
    }
