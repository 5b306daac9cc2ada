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

"""Writes test results as the tables that stand in docs/.

A test marked ``cell(table, row=..., column=...)`` is one cell of a table: "yes" where it passed. A row or a
column that is a parameter of the test stands for that parameter's id. A test adds a note to its cell with the user
property ``note``, and another word than "yes" with ``outcome``.
"""

import re
from pathlib import Path

import pytest


DOCS = Path(__file__).parents[2] / "docs"
_COMPATIBILITY = DOCS / "compatibility.md"


def _named(item: pytest.Item, name: str) -> str:
    """Give a parameter's id, or the name itself."""
    callspec = getattr(item, "callspec", None)
    if callspec is None or name not in callspec.params:
        return name
    value = callspec.params[name]
    return value if isinstance(value, str) else str(value)


def note_cells(items: list[pytest.Item]) -> None:
    """Let every report of a marked test say which cell it is."""
    for item in items:
        for marker in item.iter_markers("cell"):
            row, column = (_named(item, marker.kwargs[axis]) for axis in ("row", "column"))
            item.user_properties.append(("cell", (marker.args[0], row, column)))


def _outcome(reports: list[pytest.TestReport], notes: list[str]) -> str:
    """Say what the tests of one cell came to; why one was skipped is added to the notes."""
    if any(report.failed for report in reports):
        return "**no**"
    if any(report.passed and report.when == "call" for report in reports):
        outcomes = [value for report in reports for name, value in report.user_properties if name == "outcome"]
        told = [value for report in reports for name, value in report.user_properties if name == "note"]
        return " ".join([*(outcomes[:1] or ["yes"]), *dict.fromkeys(_number(note, notes) for note in told)])
    reasons = [report.longrepr[2].removeprefix("Skipped: ") for report in reports if report.skipped]
    reason = min(reasons, key=lambda reason: reason.startswith("no CUDA"))
    return f"skipped {_number(reason, notes)}"


def _number(note: str, notes: list[str]) -> str:
    """Refer to a note below the table."""
    if note not in notes:
        notes.append(note)
    return f"({notes.index(note) + 1})"


def write_tables(terminal: pytest.TerminalReporter) -> None:
    """Write every table into the page that has it, in Markdown with its notes, and print it."""
    cells: dict[str, dict[str, dict[str, list]]] = {}
    reports = [report for reports in terminal.stats.values() for report in reports]
    for report in reports:
        for name, value in getattr(report, "user_properties", []):
            if name == "cell":
                table, row, column = value
                cells.setdefault(table, {}).setdefault(row, {}).setdefault(column, []).append(report)
    for table, rows in cells.items():
        text = _markdown(table, rows)
        terminal.write_line(f"\n{text}")
        _COMPATIBILITY.write_text(with_table(_COMPATIBILITY.read_text(), table, text))


def _markdown(table: str, rows: dict[str, dict[str, list]]) -> str:
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    notes: list[str] = []
    lines = [f"| {' | '.join([table, *columns])} |", f"| {' | '.join(['---'] * (len(columns) + 1))} |"]
    for row, found in rows.items():
        outcomes = [_outcome(found[column], notes) if column in found else "" for column in columns]
        lines.append(f"| {' | '.join([row, *outcomes])} |")
    if notes:
        lines += ["", *(f"({number}) {note}.  " for number, note in enumerate(notes, 1))]
    return "\n".join(lines).replace("see Limits", "see [Limits](fidelity.md#limits)")


def with_table(page: str, table: str, text: str) -> str:
    """Put a table, and the notes below it, in the place of the one with the same first heading.

    Args:
        page: The page.
        table: The heading of the first column.
        text: The table and its notes.

    Returns:
        The new page.
    """
    old = re.compile(rf"^\| {re.escape(table)} \|.*\n(?:\|.*\n)+(?:\n(?:\(\d+\) .*\n)+)?", re.M)
    page, written = old.subn(lambda _: f"{text}\n", page)
    assert written == 1, f"the page has {written} tables of {table}"
    return page
