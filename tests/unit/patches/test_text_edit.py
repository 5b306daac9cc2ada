# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""Edits to files that are no Python."""

import pytest

from patches.syntax import AlreadyApplied, NoMatch, SeveralMatches
from patches.text_edit import AppendLines, AppendToSection, TextEdit


PAGE = "# Page\n\n## Save\n\nHow.\n\n```bash\n# A comment\n## Load\n```\n\n### More\n\nMore.\n\n## Load\n\nHow.\n"


def apply(do, text: str) -> str:
    return TextEdit("tiny", "a place", "Because.", "Never.", do).apply(text)


def check(do, before: str, after: str) -> None:
    assert apply(do, before) == after
    with pytest.raises(AlreadyApplied):
        apply(do, after)


def test_append_to_section_inserts_before_next_section():
    check(AppendToSection("## Save", "New."), PAGE, PAGE.replace("More.\n\n## Load\n", "More.\n\nNew.\n\n## Load\n"))
    check(AppendToSection("### More", "New."), PAGE, PAGE.replace("More.\n\n## Load\n", "More.\n\nNew.\n\n## Load\n"))
    check(AppendToSection("## Load", "New."), PAGE, f"{PAGE}\nNew.\n")


def test_append_to_section_requires_single_heading():
    with pytest.raises(NoMatch):
        apply(AppendToSection("## Export", "New."), PAGE)
    with pytest.raises(SeveralMatches):
        apply(AppendToSection("## Load", "New."), f"{PAGE}\n## Load\n")


def test_lines_are_appended():
    check(AppendLines("run b"), "run a\n", "run a\nrun b\n")
