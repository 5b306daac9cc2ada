# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Each snippet of a test file of edits is a case of its tests."""

import pytest
from edit_snippets import replaces


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give the tests that need one the name of each edit, or of those that replace something whole."""
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", metafunc.cls.SNIPPETS)
    if "replacing" in metafunc.fixturenames:
        names = [name for name in metafunc.cls.SNIPPETS if replaces(metafunc.cls.FILE, name)]
        metafunc.parametrize("replacing", names)
