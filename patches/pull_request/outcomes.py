# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Runs upstream's tests on a tree, and collects their outcomes."""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32


_ADDRESS = re.compile(r"0x[0-9a-f]+")
# torch's message if another process uses the port.
_PORT_TAKEN = "failed to listen on any local network address"


@dataclass(frozen=True)
class Outcomes:
    """The outcomes of tests by name: the reason of a failure, or None."""

    failures: dict[str, str | None]

    @property
    def passed(self) -> int:
        """The number of tests that did not fail."""
        return sum(failure is None for failure in self.failures.values())

    @property
    def failed(self) -> int:
        """The number of tests that failed."""
        return len(self.failures) - self.passed


def environment(source: Path) -> dict[str, str]:
    """Return an environment that imports the package of a tree, and does not contact the Hub."""
    return os.environ | {"PYTHONPATH": str(source), "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


def run_tests(tree: Path, tests: Sequence[str], coverage: Path | None = None, processes: int = 2) -> Outcomes:
    """Run tests of a tree in several processes. Write the coverage of its package if a path is set.

    Each process always runs the same files. pytest-xdist does not work: some of upstream's test names differ between
    processes. Files in which a test found its port in use run again, alone.
    """
    source = tree / "src" if (tree / "src/megatron").is_dir() else tree
    variables = environment(source)
    runner = [sys.executable, "-W", "ignore"]
    if coverage is not None:
        settings = coverage.with_suffix(".toml")
        settings.write_text(
            f'[tool.coverage.run]\nsource = ["{source}/megatron"]\n'
            f'data_file = "{coverage}"\nparallel = true\npatch = ["subprocess"]\n'
        )
        variables["COVERAGE_CORE"] = "sysmon"
        runner += ["-m", "coverage", "run", f"--rcfile={settings}"]
    runner += ["-m", "pytest", "-q", "--continue-on-collection-errors", "-o", "addopts=", "-m", "not pleasefixme"]
    runner += ["-p", "no:cacheprovider"]
    parts: list[list[str]] = [[] for _ in range(processes)]
    for file in _files(tree, tests):
        parts[crc32(file.encode()) % processes].append(file)
    running = []
    for at, part in enumerate(parts):
        report, log = (tree.with_name(f"{tree.name}-{at}.{kind}") for kind in ("xml", "log"))
        report.unlink(missing_ok=True)
        if part:
            command = [*runner, f"--junitxml={report}", *part]
            with log.open("wb") as output:
                process = subprocess.Popen(command, cwd=tree, env=variables, stdout=output, stderr=output)
            running.append((process, report, log))
    for process, _, _ in running:
        process.wait()
    failures: dict[str, str | None] = {}
    for _, report, log in running:
        if not report.is_file():
            raise OSError(f"the tests of {tree} did not run: {log.read_text(errors='replace').splitlines()[-1:]}")
        failures |= read_report(report).failures
    if processes > 1:
        taken = [name for name, failure in failures.items() if failure and _PORT_TAKEN in failure]
        failures |= _run_alone(tree, taken)
    return Outcomes(failures)


def _run_alone(tree: Path, names: Iterable[str]) -> dict[str, str | None]:
    """Run the files of tests again, one at a time. Return the reason of each failure."""
    failures: dict[str, str | None] = {}
    for file in sorted({file for name in names if (file := _file(name, tree))}):
        failures |= run_tests(tree, [file], processes=1).failures
    return failures


def _files(tree: Path, tests: Sequence[str]) -> list[str]:
    found = {
        file
        for name in tests
        for file in ([tree / name] if (tree / name).is_file() else (tree / name).rglob("test_*.py"))
    }
    return sorted(str(file.relative_to(tree)) for file in found)


def read_report(report: Path) -> Outcomes:
    """Read a JUnit report."""
    failures: dict[str, str | None] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        failed = [child for child in case if child.tag in ("failure", "error")]
        reason = (failed[0].get("message") or "failed").splitlines()[0] if failed else None
        # A name may contain the address of an object.
        failures[_ADDRESS.sub("0x", f"{case.get('classname')}::{case.get('name')}")] = reason
    return Outcomes(failures)


def newly_failing(before: Outcomes, after: Outcomes, tree: Path) -> list[str]:
    """Return the tests that fail now, also when they run alone, and did not fail before."""
    failing = {name for name, failure in after.failures.items() if failure and not before.failures.get(name)}
    again = _run_alone(tree, failing)
    # If a test does not run again, for example after a crash, keep its first reason.
    reasons = {name: again.get(name, after.failures[name]) for name in failing}
    return sorted(f"{name}: {reason}" for name, reason in reasons.items() if reason)


def _file(name: str, tree: Path) -> str:
    parts = name.partition("::")[0].split(".")
    paths = ["/".join(parts[:end]) + ".py" for end in range(len(parts), 0, -1)]
    return next((path for path in paths if (tree / path).is_file()), "")
