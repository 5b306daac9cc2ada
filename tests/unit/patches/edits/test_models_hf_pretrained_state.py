# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/models_hf_pretrained_state.py."""

from edit_snippets import EditSnippets, Snippet


class TestEdits(EditSnippets):
    FILE = "models_hf_pretrained_state"
    SNIPPETS = {
        "whole-model-alone": Snippet(
            """
 class SafeTensorsStateSource:
     def key_to_filename_map(self):
         safetensor_files = file_glob(self.path)
+        # transformers reads model.safetensors alone if it exists.
+        whole = [file for file in safetensor_files if Path(file).name == "model.safetensors" and Path(file).is_file()]
+        safetensor_files = whole or safetensor_files
         return safetensor_files
""",
            ("file_glob", "listing"),
            "        safetensor_files = file_glob(self.path)\n",
        ),
    }
