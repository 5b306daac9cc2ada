# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/docs_fern_versions_nightly_pages_training_checkpointing_mdx.py."""

from edit_snippets import TextSnippets


class TestEdits(TextSnippets):
    FILE = "docs_fern_versions_nightly_pages_training_checkpointing_mdx"
    TEXT = "# Page\n\n## Checkpoint Format\n\nSome.\n\n## Another\n"
    GONE = ("## Checkpoint Format", "## Formats")
