# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/pyproject_toml.py."""

from edit_snippets import TextSnippets


class TestEdits(TextSnippets):
    FILE = "pyproject_toml"
    TEXT = '[tool.setuptools.packages.find]\ninclude = ["a"]\n'
    GONE = ('include = ["a"]', 'exclude = ["a"]')
