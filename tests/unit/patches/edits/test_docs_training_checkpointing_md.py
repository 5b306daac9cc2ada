# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/docs_training_checkpointing_md.py."""

from edit_snippets import TextSnippets


class TestEdits(TextSnippets):
    FILE = "docs_training_checkpointing_md"
    TEXT = "# Page\n\n## Checkpoint Format\n\nSome.\n\n## Another\n"
    GONE = ("## Checkpoint Format", "## Formats")
