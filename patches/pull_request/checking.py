# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Runs upstream's checks on each change of the series, and compares them with unpatched upstream."""

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from patches.files import write_files
from patches.pull_request.coverage import coverage_of, covered_lines
from patches.pull_request.findings import imports_from_wheel, mypy_findings, ruff_findings
from patches.pull_request.git import git, require_clean, require_identity, worktree
from patches.pull_request.making import commit_changes
from patches.pull_request.outcomes import Outcomes, newly_failing, run_tests
from patches.series import Change, Series
from patches.syntax import AlreadyApplied
from patches.tree import attempt, changed_files
from patches.upstream import PACKAGE, open_upstream


# Upstream's unit tests of the code that a change may touch.
TESTS = ("training", "models", "utils", "peft", "conversion", "scripts", "diffusion", "doc_consistency", "inference")
UNIT_TESTS = Path("tests/unit_tests")
LEAST_COVERAGE = 80  # per cent
# Without this edit, upstream cannot be imported on a host without Transformer Engine.
_IMPORTABLE = "peft_lora_layers:transformer-engine"


@dataclass(frozen=True)
class Row:
    """The results of the checks of a change."""

    key: str
    upstream_lines: str
    new_lines: int
    passed: int
    failed: tuple[int, int]
    newly: list[str]
    findings: tuple[list[str], list[str]]
    imports: str
    coverage: int

    @property
    def is_good(self) -> bool:
        """Whether upstream could merge it."""
        return not (self.newly or any(self.findings) or self.imports) and self.coverage >= LEAST_COVERAGE


def check_pull_request(series: Series, checkout: Path, only: str = "") -> int:
    """Check each change, or one, on an upstream checkout. Print a table and return the exit status."""
    require_clean(checkout)
    require_identity(checkout)
    with tempfile.TemporaryDirectory() as work:
        with worktree(checkout, Path(work, "after")) as tree:
            commits, _ = commit_changes(series, tree, only)
            with worktree(checkout, Path(work, "before")) as unpatched:
                _make_importable(series, unpatched)
                _report("upstream's tests, unpatched")
                before = run_tests(unpatched, _tests(unpatched))
            rows = []
            for key, commit in commits.items():
                git(tree, "checkout", "--quiet", commit)
                rows.append(_check(key, tree, before, Path(work)))
                print_table(rows)
    return int(not all(row.is_good for row in rows))


def _make_importable(series: Series, tree: Path) -> None:
    upstream = open_upstream(tree, tree)
    (patched,) = attempt(series, upstream, [Change("", "importable", "", edits=[_IMPORTABLE])])
    for _, error in patched.attempts:
        # The checkout may already contain earlier changes.
        if error and not isinstance(error, AlreadyApplied):
            raise error
    write_files(changed_files([patched]), upstream.root)


def _tests(tree: Path) -> list[str]:
    return [str(UNIT_TESTS / name) for name in TESTS if (tree / UNIT_TESTS / name).exists()]


def _check(key: str, tree: Path, before: Outcomes, work: Path) -> Row:
    upstream = open_upstream(tree, tree)
    package = (upstream.root / PACKAGE).relative_to(tree)
    changed = git(tree, "diff", "--name-status", "--diff-filter=d", "HEAD~").splitlines()
    kinds = {name: kind for kind, name in (line.split("\t") for line in changed)}
    added = [name for name, kind in kinds.items() if kind == "A"]
    own = [name for name in added if Path(name).name.startswith("test_")]
    modules = [name for name in added if name.endswith(".py") and not name.startswith("tests/")]
    _report(f"{key}: upstream's tests and those of the change")
    data = work / f"coverage-{key}"
    folders = _tests(tree)
    after = run_tests(
        tree, [*folders, *(name for name in own if not name.startswith(tuple(f"{each}/" for each in folders)))], data
    )
    newly = newly_failing(before, after, tree)
    _report(f"{key}: ruff, mypy, the wheel")
    edited = [name for name, kind in kinds.items() if kind == "M" and name.startswith(f"{package}/")]
    numbers = [line.split("\t") for line in git(tree, "diff", "--numstat", "HEAD~").splitlines()]
    counts = [(int(more), int(less)) for more, less, name in numbers if name in edited]
    return Row(
        key,
        f"+{sum(more for more, _ in counts)} -{sum(less for _, less in counts)} in {len(edited)}",
        sum(len((tree / name).read_text().splitlines()) for name in modules),
        after.passed,
        (before.failed, after.failed),
        newly,
        (
            ruff_findings(tree, [name for name in kinds if name.endswith(".py")]),
            mypy_findings(tree, upstream.root, modules),
        ),
        imports_from_wheel(tree, work / f"wheel-{key}"),
        coverage_of(tree, covered_lines(data, tree), package.parent),
    )


def print_table(rows: list[Row]) -> None:
    """Print the results so far."""
    head = ("change", "upstream's files", "new lines", "passed", "failed before", "after", "newly", "ruff", "mypy")
    table: list[tuple[object, ...]] = [(*head, "wheel imports", "coverage")]
    for row in rows:
        counts = (row.passed, *row.failed, len(row.newly), *map(len, row.findings))
        table.append((row.key, row.upstream_lines, row.new_lines, *counts, row.imports or "yes", f"{row.coverage} %"))
    widths = [max(len(str(cell)) for cell in column) for column in zip(*table)]
    for cells in table:
        print("  ".join(str(cell).ljust(width) for cell, width in zip(cells, widths)).rstrip())
    for row in rows:
        for name in (*row.newly, *row.findings[0], *row.findings[1]):
            print(f"{row.key}: {name}")
    sys.stdout.flush()


def _report(step: str) -> None:
    if os.isatty(sys.stderr.fileno()):
        print(step, file=sys.stderr)
