# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/training_utils_checkpoint_utils.py."""

from edit_snippets import EditSnippets, Snippet


class TestEdits(EditSnippets):
    FILE = "training_utils_checkpoint_utils"
    SNIPPETS = {
        "hf-model-id": Snippet(
            '''
 def get_hf_model_id_from_checkpoint(path):
     """Find it."""
+    # checkpointing imports this module.
+    from megatron.bridge.training.checkpointing import find_checkpoint_folder
+
+    path = find_checkpoint_folder(path)
     return path
''',
            ("get_hf_model_id_from_checkpoint", "get_id"),
        ),
        "run-config-locally": Snippet(
            '''
 @cache
-def read_run_config(run_config_filename: str):
+def read_run_config(run_config_filename: str, broadcast: bool = True):
     """Read it.

     Args:
         run_config_filename: Where it is.
+        broadcast: Whether rank 0 reads for every rank; else this rank does. Default is True.
     """
-    if torch.distributed.is_initialized():
+    if broadcast and torch.distributed.is_initialized():
         return 1
     return 2
''',
            ("is_initialized", "is_available"),
            "    if torch.distributed.is_initialized():\n        return 1\n",
        ),
        "hf-model-id-locally": Snippet(
            """
 def get_hf_model_id_from_checkpoint(path):
-    from a import find_checkpoint_folder
+    from megatron.bridge.training.utils.checkpoint_resolver import resolve_run_config_folder

-    path = find_checkpoint_folder(path)
-    return read_run_config(path)
+    path = resolve_run_config_folder(path)
+    return read_run_config(path, broadcast=False)
""",
            ("read_run_config", "read"),
            "    return read_run_config(path)\n",
        ),
    }
