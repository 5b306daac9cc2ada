# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/training_utils_checkpoint_utils.py."""

from edit_snippets import EditSnippets, Snippet


class TestEdits(EditSnippets):
    FILE = "training_utils_checkpoint_utils"
    SNIPPETS = {
        "hf-model-id": Snippet(
            '''
-import posixpath
 import re
+
+from megatron.core.msc_utils import maybe_msc


 def get_hf_model_id_from_checkpoint(path):
     """
-    Find it.
+    Return the Hugging Face model that a checkpoint was made of. Not collective.
+
+    Args:
+        path: Checkpoint root, which stands for the checkpoint that its tracker names, or a checkpoint folder.
+
+    Returns:
+        The model's ID or folder; None where the checkpoint does not name it.
+
+    Raises:
+        FileNotFoundError: If there is nothing at the path, or if the tracker names a folder that is not there.
+        NotADirectoryError: If the path is no folder.
+        ValueError: If the tracker is torn, empty, or holds anything else.
     """
-    return posixpath.join(path)
+    # checkpoint_root imports this module.
+    from megatron.bridge.training.utils.checkpoint_root import resolve_run_config_folder
+
+    root = maybe_msc.Path(str(path))
+    if not root.exists():
+        raise FileNotFoundError(f"There is no checkpoint at {root}.")
+    if not root.is_dir():
+        raise NotADirectoryError(f"{root} is a file; give the checkpoint root or a checkpoint folder.")
+
+    run_config_filename = get_checkpoint_run_config_filename(resolve_run_config_folder(str(path)))
+    if not file_exists(run_config_filename):
+        return None
+    run_config = read_run_config(run_config_filename, broadcast=False)
+    model = run_config.get("model") if isinstance(run_config, dict) else None
+    hf_model_id = model.get("hf_model_id") if isinstance(model, dict) else None
+    return str(hf_model_id) if hf_model_id else None
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
    }
