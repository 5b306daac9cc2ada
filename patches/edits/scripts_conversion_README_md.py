# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's scripts/conversion/README.md."""

from patches.text_edit import AppendToSection, TextEdit


TARGET = "scripts/conversion/README.md"

EDITS = (
    TextEdit(
        name="import-release",
        symbol="## Local CPU conversion",
        why="Who converts from a shell reads of the option there.",
        drop_when="upstream's script has an option for a release.",
        do=AppendToSection(
            "## Local CPU conversion",
            """\
`import --release` writes the release checkpoint that Megatron-LM fine-tunes from: `release/` and the tracker `release`.
Both backends take it.""",
        ),
    ),
)
