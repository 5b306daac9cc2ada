# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Each snippet of a test file of edits is a case of its tests."""

import pytest
from edit_snippets import replaces, searches


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give the tests that need one the name of each edit, or of those that look for a place or replace it whole."""
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", metafunc.cls.SNIPPETS)
    for fixture, does in (("replacing", replaces), ("searching", searches)):
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, [name for name in metafunc.cls.SNIPPETS if does(metafunc.cls.FILE, name)])
