# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Each file of edits is named as what it edits, and has its own file of tests."""

from pathlib import Path

import pytest

from patches.series import EDITS, load_series


ROOT = Path(__file__).resolve().parents[3]
TARGETS = {placed.home: placed.target for forms in load_series(ROOT).edits.values() for placed in forms}


def _name(target: str) -> str:
    """Name a file of upstream with its folders; a folder whose name the next one begins with is not told twice."""
    parts = (
        target.removeprefix("megatron/bridge/")
        .removesuffix(".py")
        .replace("__init__", "init")
        .translate(str.maketrans(".-", "__"))
        .split("/")
    )
    return "_".join(part for part, after in zip(parts, [*parts[1:], ""]) if not after.startswith(f"{part}_"))


def test_edit_files_and_their_tests_match():
    edits = {path.stem for path in (ROOT / EDITS).glob("[!_]*.py")}
    tests = {path.stem.removeprefix("test_") for path in (ROOT / "tests/unit/patches/edits").glob("test_*.py")}
    assert edits - tests == set(), "write tests/unit/patches/edits/test_<name>.py for these"
    assert tests - edits == set(), "there are no such files of edits"


@pytest.mark.parametrize("home", sorted(TARGETS))
def test_edit_file_name_matches_target(home):
    assert home == f"{EDITS.as_posix()}/{_name(TARGETS[home])}.py"
