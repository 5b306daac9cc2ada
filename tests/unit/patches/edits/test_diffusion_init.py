# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/diffusion_init.py."""

from edit_snippets import EditSnippets, Snippet


class TestEdits(EditSnippets):
    FILE = "diffusion_init"
    SNIPPETS = {
        "models-first": Snippet(
            """
 __all__ = ["a"]
+import megatron.bridge.models  # noqa: F401
""",
            None,
        ),
    }
