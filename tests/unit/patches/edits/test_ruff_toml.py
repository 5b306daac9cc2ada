# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/ruff_toml.py."""

from edit_snippets import TextSnippets


class TestEdits(TextSnippets):
    FILE = "ruff_toml"
    TEXT = '[lint.isort]\nknown-first-party = ["a"]\n'
    GONE = ('known-first-party = ["a"]', 'known-third-party = ["a"]')
