# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/models_gpt_provider.py."""

from edit_snippets import EditSnippets, Snippet


class TestEdits(EditSnippets):
    FILE = "models_gpt_provider"
    SNIPPETS = {
        "vocabulary-padding": Snippet(
            """
 class GPTModelProvider:
     def provide(self):
-        if self.should_pad_vocab:
+        if self.should_pad_vocab or self.vocab_size % self.tensor_model_parallel_size:
             return 1
""",
            ("should_pad_vocab", "pads"),
            "        if self.should_pad_vocab:\n            return 1\n",
        ),
    }
