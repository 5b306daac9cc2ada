# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's tests/functional_tests/launch_scripts/h100/active/L0_Launch_converter.sh."""

from patches.text_edit import AppendLines, TextEdit


TARGET = "tests/functional_tests/launch_scripts/h100/active/L0_Launch_converter.sh"

EDITS = (
    TextEdit(
        name="release",
        symbol="",
        why="The functional tests of releases run where those of the converter do.",
        drop_when="upstream's script runs them.",
        do=AppendLines(
            """\
uv run coverage run --data-file="${REPO_ROOT}/.coverage" --source="${REPO_ROOT}" --parallel-mode -m pytest \\
  -s -x -m "not pleasefixme" tests/functional_tests/test_groups/converter/release
coverage combine --append -q"""
        ),
    ),
)
