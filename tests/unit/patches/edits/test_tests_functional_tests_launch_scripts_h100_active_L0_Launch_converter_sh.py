# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/tests_functional_tests_launch_scripts_h100_active_L0_Launch_converter_sh.py."""

import pytest
from edit_snippets import edits_of

from patches.syntax import AlreadyApplied


def test_launch_script_edit_adds_release_tests_once():
    (edit,) = edits_of("tests_functional_tests_launch_scripts_h100_active_L0_Launch_converter_sh").values()
    changed = edit.apply("run these\n")
    assert changed.startswith("run these\n") and "test_groups/converter/release\n" in changed
    with pytest.raises(AlreadyApplied):
        edit.apply(changed)
