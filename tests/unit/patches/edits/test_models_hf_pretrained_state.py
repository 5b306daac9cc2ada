# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/models_hf_pretrained_state.py."""

from edit_snippets import EditSnippets, Snippet


class TestEdits(EditSnippets):
    FILE = "models_hf_pretrained_state"
    SNIPPETS = {
        "whole-model-alone": Snippet(
            """
+from megatron.bridge.release.source.safetensors_index import weight_files
+
+
 class SafeTensorsStateSource:
     def key_to_filename_map(self):
         safetensor_files = file_glob(self.path)
+        safetensor_files = weight_files(safetensor_files)
         return safetensor_files
""",
            ("file_glob", "listing"),
            "        safetensor_files = file_glob(self.path)\n",
        ),
    }
