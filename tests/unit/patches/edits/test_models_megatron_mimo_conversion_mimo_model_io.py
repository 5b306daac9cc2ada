# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/models_megatron_mimo_conversion_mimo_model_io.py."""

from edit_snippets import EditSnippets, Snippet


class TestEdits(EditSnippets):
    FILE = "models_megatron_mimo_conversion_mimo_model_io"
    SNIPPETS = {
        "resolve-folder": Snippet(
            '''
+from megatron.bridge.training.utils.checkpoint_resolver import resolve_checkpoint_folder
+from megatron.bridge.training.utils.checkpoint_utils import is_checkpoint_iteration_directory
+
+
 def _resolve_iter_folder(path):
-    """Find it."""
-    return 1
+    """Resolve a checkpoint root, or a checkpoint folder, to the checkpoint folder."""
+    folder = resolve_checkpoint_folder(path)
+    if not is_checkpoint_iteration_directory(folder):
+        raise FileNotFoundError(f"{path} is neither a checkpoint root nor a checkpoint folder.")
+    return Path(folder)
''',
            ("_resolve_iter_folder", "_resolve"),
        ),
    }
