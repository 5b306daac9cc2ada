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
        "layer-spec": Snippet(
            """
+from megatron.bridge.utils.te_requirements import has_transformer_engine
+
+
 def transformer_engine_layer_spec(config):
+    if not has_transformer_engine():
+        return local_layer_spec(config)
     return 1
""",
            ("transformer_engine_layer_spec", "layer_spec"),
        ),
        "mtp-block-spec": Snippet(
            """
+from megatron.bridge.utils.te_requirements import has_transformer_engine
+
+
 def mtp_block_spec():
-    get_gpt_decoder_layer_specs()
-    get_gpt_mtp_block_spec(1, use_transformer_engine=True)
+    get_gpt_decoder_layer_specs(use_transformer_engine=has_transformer_engine())
+    get_gpt_mtp_block_spec(1, use_transformer_engine=has_transformer_engine())
""",
            ("get_gpt_decoder_layer_specs", "get_specs"),
            "    get_gpt_mtp_block_spec(1, use_transformer_engine=True)\n",
        ),
    }
