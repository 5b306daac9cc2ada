# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/tests_unit_tests_training_test_model_load_save.py."""

from edit_snippets import EditSnippets, keyword_snippet


class TestEdits(EditSnippets):
    FILE = "tests_unit_tests_training_test_model_load_save"
    SNIPPETS = {
        f"{what}-save-megatron-model{suffix.replace('_', '-')}": keyword_snippet(
            "TestSaveMegatronModel",
            f"test_save_megatron_model{suffix}",
            "mock_save_checkpoint.assert_called_once_with",
            argument,
        )
        for what, argument in (("release", "release=False"), ("writer", "checkpointing_context=None"))
        for suffix in ("", "_with_tokenizer", "_without_tokenizer")
    }
