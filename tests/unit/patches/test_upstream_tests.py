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

"""What `upstream-tests` makes of reports, of coverage, and of a change."""

import subprocess
from pathlib import Path

from patches.pull_request.checking import Row, print_table
from patches.pull_request.coverage import changed_lines, per_cent
from patches.pull_request.outcomes import Outcomes, newly_failing, read_report, run_tests


REPORT = """<testsuites><testsuite>
<testcase classname="tests.test_a" name="test_good"/>
<testcase classname="tests.test_a" name="test_skipped"><skipped/></testcase>
<testcase classname="tests.test_a.TestClass" name="test_bad"><failure message="assert 1 == 2&#10;more"/></testcase>
<testcase classname="tests.test_a" name="test_broken"><error message="no port"/></testcase>
</testsuite></testsuites>"""


def test_read_report_returns_failure_reasons(tmp_path):
    (tmp_path / "report.xml").write_text(REPORT)
    outcomes = read_report(tmp_path / "report.xml")
    assert outcomes.failures == {
        "tests.test_a::test_good": None,
        "tests.test_a::test_skipped": None,
        "tests.test_a.TestClass::test_bad": "assert 1 == 2",
        "tests.test_a::test_broken": "no port",
    }
    assert (outcomes.passed, outcomes.failed) == (2, 2)


def test_newly_failing_tests_fail_alone_and_not_before(tmp_path):
    tests = tmp_path / "tree/tests"
    tests.mkdir(parents=True)
    (tests / "__init__.py").touch()
    (tests / "test_a.py").write_text(
        "def test_old():\n    assert False\n\n\ndef test_bad():\n    assert 1 == 2\n\n\n"
        "def test_port():\n    assert True\n\n\ndef test_own():\n    assert 3 == 4\n"
    )
    names = [f"tests.test_a::test_{name}" for name in ("old", "bad", "port", "own")]
    before = Outcomes(dict.fromkeys(names[:3]) | {names[0]: "it did before"})
    after = Outcomes(dict.fromkeys([*names, "::gw1"], "failed"))
    assert newly_failing(before, after, tmp_path / "tree") == [
        "::gw1: failed",
        "tests.test_a::test_bad: assert 1 == 2",
        "tests.test_a::test_own: assert 3 == 4",
    ]


def test_file_runs_again_when_port_is_in_use(tmp_path):
    tests = tmp_path / "tree/tests"
    tests.mkdir(parents=True)
    (tests / "__init__.py").touch()
    for name, why in (("a", "failed to listen on any local network address. port: 29500"), ("b", "another reason")):
        (tests / f"test_{name}.py").write_text(
            "from pathlib import Path\n\n\ndef test_it():\n    at = Path(__file__).with_suffix('.ran')\n    again = at.exists()\n"
            f"    at.touch()\n    assert again, {why!r}\n"
        )
    failures = run_tests(tmp_path / "tree", ["tests"]).failures
    assert failures["tests.test_a::test_it"] is None
    assert str(failures["tests.test_b::test_it"]).startswith("AssertionError: another reason")


def test_changed_lines_come_from_the_diff(tmp_path):
    def git(*arguments: str) -> str:
        command = ["git", "-c", "user.name=T", "-c", "user.email=t@example.org", *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    git("init", "-q")
    Path(tmp_path, "a.py").write_text("one\ntwo\nthree\n")
    git("add", ".")
    git("commit", "-qm", "before")
    Path(tmp_path, "a.py").write_text("zero\none\nthree\nfour\nfive\n")
    Path(tmp_path, "b.py").write_text("new\n")
    git("add", ".")
    git("commit", "-qm", "after")
    changed = changed_lines(git("diff", "-U0", "HEAD~"))
    assert changed == {"a.py": {1, 4, 5}, "b.py": {1}}
    assert per_cent(changed, {"a.py": ({1, 2}, {3, 4}), "b.py": ({1}, set())}) == 66
    assert per_cent(changed, {}) == 100


def test_table_lists_findings_of_change(capsys):
    good = Row("a", "+1 -1 in 1", 0, 10, (1, 1), [], ([], []), "", 92)
    bad = Row("b", "+1 -1 in 1", 9, 9, (1, 2), ["tests::test_x: why"], ([], ["m.py:1: error: x"]), "no: why", 79)
    print_table([good, bad])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[-3:] == ["yes", "92", "%"] and "no: why" in lines[2]
    assert lines[3:] == ["b: tests::test_x: why", "b: m.py:1: error: x"]
    assert good.is_good and not bad.is_good
