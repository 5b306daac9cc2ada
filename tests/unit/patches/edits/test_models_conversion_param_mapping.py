# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/models_conversion_param_mapping.py."""

from edit_snippets import EditSnippets, Snippet


class TestEdits(EditSnippets):
    FILE = "models_conversion_param_mapping"
    SNIPPETS = {
        "replicated-without-cuda": Snippet(
            """
 class ReplicatedMapping:
     def hf_to_megatron(self):
-        x = 1 if target_device.index != torch.cuda.current_device() else 2
+        x = 1 if torch.cuda.is_available() and target_device.index != torch.cuda.current_device() else 2
""",
            (".index", ".rank"),
            "        x = 1 if target_device.index != torch.cuda.current_device() else 2\n",
        ),
    }
