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

"""A report collects the findings, and which readers they concern."""

from pathlib import Path

import pytest

from megatron.bridge.release.verify.findings import FileProblem, MissingContent, NotACheckpoint
from megatron.bridge.release.verify.report import READERS, UPSTREAM, Report


ROOT = Path("/root")
FIRST, SECOND = FileProblem(ROOT / "a", "missing", None, ROOT), NotACheckpoint(ROOT)


def _reasons(report: Report) -> list:
    return [reader.reason for reader in report.readers]


def test_report_without_problems_passes_in_all_readers():
    report = Report(ROOT, notes=[MissingContent("args")])
    assert report.passed
    assert _reasons(report) == [None] * len(READERS)


def test_problem_concerns_all_readers_by_default():
    report = Report(ROOT)
    report.add_problem(FIRST)
    assert not report.passed
    assert report.problems == [FIRST]
    assert _reasons(report) == [FIRST] * len(READERS)


def test_reader_reason_is_first_problem():
    report = Report(ROOT)
    report.add_problem(FIRST, READERS[0])
    report.add_problem(SECOND, READERS[0], READERS[2])
    assert report.problems == [FIRST, SECOND]
    assert _reasons(report) == [FIRST, None, SECOND, None]


def test_unreadable_for_a_reader_is_no_problem():
    report = Report(ROOT)
    report.mark_unreadable(FIRST, UPSTREAM)
    assert report.passed
    assert _reasons(report) == [None, None, None, FIRST]


def test_unrepairable_problems_are_those_without_a_repair():
    report = Report(ROOT)
    report.add_problem(FIRST)
    report.add_problem(SECOND)
    assert report.unrepairable == [SECOND]


@pytest.mark.parametrize(
    ("layout", "repairable", "repair"), [("release", True, ROOT), ("release", False, None), ("training", True, None)]
)
def test_file_keeps_first_problem_and_training_has_no_repair(layout, repairable, repair):
    report = Report(ROOT, layout=layout, folder="name")
    report.add_file_problem("file", "truncated", "reason", repairable=repairable)
    report.add_file_problem("file", "corrupt", "another reason")
    (problem,) = report.problems
    assert (problem.file, problem.status, problem.reason) == (ROOT / "name/file", "truncated", "reason")
    assert problem.repair == repair
    assert report.files["file"].status == "truncated"


def test_reports_share_no_lists():
    Report(ROOT).add_problem(FIRST)
    assert Report(ROOT).passed
    assert _reasons(Report(ROOT)) == [None] * len(READERS)
