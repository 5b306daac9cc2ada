# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/tests_unit_tests_models_test_gpt_provider.py."""

from edit_snippets import EditSnippets, Snippet


class TestEdits(EditSnippets):
    FILE = "tests_unit_tests_models_test_gpt_provider"
    SNIPPETS = {
        "with-transformer-engine": Snippet(
            """
+@patch("megatron.bridge.models.gpt_provider.has_transformer_engine", new=lambda: True)
 class TestGPTModelProvider: ...
""",
            ("TestGPTModelProvider", "TestProvider"),
        ),
    }
