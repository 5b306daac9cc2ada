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


"""The numbers of cases in docs are those that the tests have tried, and tables are put where they stand."""

from types import SimpleNamespace

import pytest
import tables


def _config(*cases: tuple[str, str, int], keyword: str = "", args: tuple[str, ...] = (), failed: bool = False):
    """A session whose tests have tried these cases, a report each."""
    reports = [
        SimpleNamespace(when=when, user_properties=[("count", (tables.find_row(injected, into), number))])
        for injected, into, number in cases
        for when in ("setup", "call", "teardown")
    ]
    terminal = SimpleNamespace(stats={"passed": reports, "failed": [reports[0]] if failed else []})
    manager = SimpleNamespace(get_plugin=lambda name: terminal)
    return SimpleNamespace(option=SimpleNamespace(keyword=keyword), args=args, pluginmanager=manager)


def test_cases_of_several_tests_are_added():
    assert tables.wrong_counts(_config(("SIGKILL", "publishing", 100), ("SIGKILL", "publishing", 25))) == []


def test_another_number_is_told_with_its_row():
    (wrong,) = tables.wrong_counts(_config(("SIGKILL", "publishing", 100), ("two imports", "publishing", 100)))
    assert wrong.startswith("docs/reliability.md tells 125 cases of 'SIGKILL, before") and wrong.endswith(
        "the tests tried 100"
    )


@pytest.mark.parametrize("part", [{"keyword": "killed"}, {"args": ("tests/test_a.py::test_b",)}, {"failed": True}])
def test_of_a_part_nothing_is_said(part):
    assert tables.wrong_counts(_config(("SIGKILL", "publishing", 1), **part)) == []


def test_a_row_that_is_not_there_is_an_error_of_the_test_that_names_it():
    for injected, into in (("SIGSTOP", "publishing"), ("SIGKILL", "")):
        with pytest.raises(ValueError):
            tables.find_row(injected, into)


def test_a_table_takes_the_place_of_its_old_one_with_its_notes_and_nothing_else():
    page = "a\n\n| x | y |\n| --- | --- |\n| 1 | yes (1) |\n\n(1) Old.  \n\n| z | y |\n| --- | --- |\n| 1 | 2 |\n\nb\n"
    new = tables.with_table(page, "x", "| x | w |\n| --- | --- |\n| 2 | no |")
    assert new == "a\n\n| x | w |\n| --- | --- |\n| 2 | no |\n\n| z | y |\n| --- | --- |\n| 1 | 2 |\n\nb\n"
    with pytest.raises(AssertionError, match="0 tables of v"):
        tables.with_table(page, "v", "")


def test_a_count_is_written_into_its_row_alone():
    page = (
        "| injected | into | cases | losses |\n| --- | --- | --- | --- |\n| kill | a | 1 | none |\n| | b | 2 | none |\n"
        "| cut | a | 1 | none |\n"
    )
    assert tables.with_count(page, ("kill", "b"), 30) == page.replace("| b | 2 |", "| b | 30 |")
    assert tables.with_count(page, ("cut", "a"), 30) == page.replace("| cut | a | 1 |", "| cut | a | 30 |")
    with pytest.raises(AssertionError, match="0 rows of"):
        tables.with_count(page, ("cut", "b"), 30)


def test_each_row_of_reliability_takes_its_own_count():
    page = tables.DOCS.joinpath("reliability.md").read_text()
    assert all(tables.with_count(page, row, told) == page for row, told in tables.counted_rows().items())
