# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The share of a change that the tests run."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from patches.pull_request.git import git


Lines = Mapping[str, tuple[set[int], set[int]]]


def covered_lines(data: Path, tree: Path) -> Lines:
    """Return the executed and the missed lines of each file, from the coverage data of a run."""
    settings, report = data.with_suffix(".toml"), data.with_suffix(".json")
    for words in (["combine", "--quiet"], ["json", "--quiet", "-i", "-o", str(report)]):
        command = [sys.executable, "-m", "coverage", words[0], f"--rcfile={settings}", *words[1:]]
        subprocess.run(command, cwd=tree, capture_output=True, check=True)
    files = json.loads(report.read_text())["files"]
    return {name: (set(file["executed_lines"]), set(file["missing_lines"])) for name, file in files.items()}


def changed_lines(diff: str) -> dict[str, set[int]]:
    """Return the lines that a diff without context adds to each file."""
    lines: dict[str, set[int]] = {}
    name = ""
    for line in diff.splitlines():
        if line.startswith("+++ b/"):
            name = line.removeprefix("+++ b/")
        elif match := re.match(r"@@ -\S+ \+(\d+)(?:,(\d+))? @@", line):
            begin, count = int(match[1]), int(match[2] or 1)
            lines.setdefault(name, set()).update(range(begin, begin + count))
    return lines


def coverage_of(tree: Path, lines: Lines, package: Path) -> int:
    """Return the percentage of executed lines among the newest commit's lines in a package."""
    changed = changed_lines(git(tree, "diff", "-U0", "HEAD~", "--", str(package)))
    return per_cent(changed, lines)


def per_cent(changed: Mapping[str, set[int]], lines: Lines) -> int:
    """Return the percentage of executed lines among the changed lines that contain code."""
    run = sum(len(numbers & lines[name][0]) for name, numbers in changed.items() if name in lines)
    missed = sum(len(numbers & lines[name][1]) for name, numbers in changed.items() if name in lines)
    return 100 * run // (run + missed) if run + missed else 100
