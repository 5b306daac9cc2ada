# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/scripts_conversion_README_md.py."""

from edit_snippets import TextSnippets


class TestEdits(TextSnippets):
    FILE = "scripts_conversion_README_md"
    TEXT = "# Launcher\n\n## Local CPU conversion\n\nSome.\n"
    GONE = ("## Local CPU conversion", "### Other")
