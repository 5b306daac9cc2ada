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

"""A report tells whether a checkpoint loads, and which readers a problem concerns."""

from megatron.bridge.release.verify.report import BRIDGE, MEGATRON_LM, OLDER_MEGATRON_LM, UPSTREAM, Report


def _reasons(report: Report) -> dict[str, str]:
    """Why each of the readers that cannot load it cannot."""
    assert all(reader.loads == (reader.why == "") for reader in report.readers)
    return {reader.name: reader.why for reader in report.readers if not reader.loads}


def test_a_report_without_problems_is_of_a_checkpoint_that_every_reader_loads():
    report = Report("root", notes=["worth knowing"])
    assert report.passed and _reasons(report) == {}
    assert [reader.name for reader in report.readers] == [MEGATRON_LM, OLDER_MEGATRON_LM, BRIDGE, UPSTREAM]


def test_a_problem_of_no_reader_in_particular_stops_all_of_them():
    report = Report("root")
    report.add_problem("damaged")
    assert not report.passed and report.problems == ["damaged"] and report.beyond_repair == []
    assert _reasons(report) == dict.fromkeys((MEGATRON_LM, OLDER_MEGATRON_LM, BRIDGE, UPSTREAM), "damaged")


def test_a_problem_of_some_readers_stops_those_alone_and_the_first_reason_is_kept():
    report = Report("root")
    report.add_problem("no args", MEGATRON_LM)
    report.add_problem("no config", MEGATRON_LM, BRIDGE)
    assert report.problems == ["no args", "no config"]
    assert _reasons(report) == {MEGATRON_LM: "no args", BRIDGE: "no config"}


def test_a_reader_that_knows_no_such_checkpoint_is_no_problem_of_the_checkpoint():
    report = Report("root")
    report.stop("unknown", UPSTREAM)
    assert report.passed and _reasons(report) == {UPSTREAM: "unknown"}


def test_two_reports_share_no_lists():
    Report("one").add_problem("damaged")
    assert Report("other").passed and _reasons(Report("other")) == {}
