# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/models_hf_pretrained_base.py."""

from edit_snippets import EditSnippets, Snippet


class TestEdits(EditSnippets):
    FILE = "models_hf_pretrained_base"
    SNIPPETS = {
        "weights-of-revision": Snippet(
            """
+from megatron.bridge.release.source.hub import weights_folder
+
+
 class PreTrainedBase:
     def state(self):
-        return SafeTensorsStateSource(self.model_name_or_path)
+        return SafeTensorsStateSource(weights_folder(self.model_name_or_path, self.init_kwargs))
""",
            ("SafeTensorsStateSource", "StateSource"),
            "        return SafeTensorsStateSource(self.model_name_or_path)\n",
        ),
    }
