# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/docs_fern_versions_nightly_pages_megatron_lm_to_megatron_bridge_mdx.py."""

from edit_snippets import TextSnippets


class TestEdits(TextSnippets):
    FILE = "docs_fern_versions_nightly_pages_megatron_lm_to_megatron_bridge_mdx"
    TEXT = "# Megatron-LM to Megatron Bridge Guide\n\n## Another\n"
    GONE = ("# Megatron-LM to Megatron Bridge Guide", "# Guide")
