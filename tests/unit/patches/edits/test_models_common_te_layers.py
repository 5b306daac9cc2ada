# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/models_common_te_layers.py."""

from edit_snippets import EditSnippets, Snippet


class TestEdits(EditSnippets):
    FILE = "models_common_te_layers"
    SNIPPETS = {
        "epsilon-after-linear-layers": Snippet(
            """
 class TERowParallelLinearLayerNorm:
     def __init__(self, config, output_size):
-        self.post_layernorm = TENorm(config, output_size)
+        self.post_layernorm = TENorm(config, output_size, eps=config.layernorm_epsilon)
""",
            ("TENorm", "Norm"),
            "        self.post_layernorm = TENorm(config, output_size)\n",
        ),
    }
