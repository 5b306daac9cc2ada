# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/tests_unit_tests_models_test_auto_bridge.py."""

from edit_snippets import EditSnippets, keyword_snippet


_IMPORTS = ("import_ckpt_basic", "import_ckpt_with_kwargs", "import_ckpt_with_low_memory_save")
_SAVES = ("save_megatron_model_basic", "save_megatron_model_with_tokenizer")
_CALLS = {
    "release": ("release=False", (*_IMPORTS, *_SAVES)),
    "overwrite": ("overwrite=False", (*_IMPORTS, *_SAVES)),
    "allow": ("allow_unused_tensors=(), allow_config_fields=()", _IMPORTS),
    "let-through": ("waived=()", _SAVES),
    "source-model": ("source_model=None", _SAVES),
}


class TestEdits(EditSnippets):
    FILE = "tests_unit_tests_models_test_auto_bridge"
    SNIPPETS = {
        f"{what}-{test.replace('_', '-')}": keyword_snippet(
            "TestAutoBridge",
            f"test_{test}",
            f"mock_{'bridge.' if test in _IMPORTS else ''}save_megatron_model.assert_called_once_with",
            arguments,
        )
        for what, (arguments, tests) in _CALLS.items()
        for test in tests
    }
