# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Prints a report of a checkpoint as text."""

import shlex
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from megatron.bridge.release.errors import shell_option
from megatron.bridge.release.layout import RELEASE, TRACKER, TRAIN_STATE_TRACKER
from megatron.bridge.release.verify.findings import Finding
from megatron.bridge.release.verify.launch import launch_command
from megatron.bridge.release.verify.report import Report


def text_of(finding: Finding | None) -> str:
    """Return the text of a finding, with options as the command line spells them; an empty string for None."""
    return "" if finding is None else finding.text(shell_option)


def print_report(report: Report, out: TextIO) -> None:
    """Print the report of a check."""
    console = _console(out)
    console.print(escape(f"{report.root}: {report.layout or 'no checkpoint'}"))
    console.print(f"tracker: {escape(repr(report.tracker)) if report.tracker is not None else 'missing'}")
    console.print(f"source model: {escape(report.source_model) if report.source_model is not None else 'unknown'}")
    console.print(f"args: {report.args or 'none'}")
    if report.files:
        files = Table("file", "size", "expected size", "status")
        for name in sorted(report.files):
            file = report.files[name]
            status = "ok (no checksum)" if file.status == "ok" and not file.is_verified else file.status
            files.add_row(escape(name), _number(file.size), _number(file.expected_size), status)
        console.print(files)
    _print_findings(report, console)
    count = len(report.problems)
    console.print(
        "OK: the checkpoint can be loaded." if report.passed else f"{count} problem{'s'[: count > 1]} found."
    )


def print_release(report: Report, out: TextIO) -> None:
    """Print the files of an import, the readers that can load it, and the command that starts Megatron-LM."""
    console, top = _console(out), Tree(escape(f"{report.root}/"))
    folders = {report.root: top}
    trackers = [path for path in map(report.root.joinpath, (TRACKER, TRAIN_STATE_TRACKER)) if path.is_file()]
    paths = [*trackers, report.root / RELEASE, *(report.root / RELEASE).rglob("*")]
    for path in sorted(paths, key=lambda path: (path.parent, path.is_dir(), path.name)):
        text = f"{path.name}/" if path.is_dir() else f"{path.name}  {path.lstat().st_size:,} bytes"
        folders[path] = folders[path.parent].add(escape(text))
    console.print(top)
    _print_findings(report, console)


def _print_findings(report: Report, console: Console) -> None:
    readers = Table("reader", "loads it", "reason")
    for reader in report.readers:
        # A problem may be long, and is printed in full below.
        reason = text_of(reader.reason)
        if reader.reason in report.problems:
            reason = f"problem {report.problems.index(reader.reason) + 1}"
        readers.add_row(escape(reader.name), "yes" if reader.reason is None else "no", escape(reason))
    console.print(readers)
    for note in report.notes:
        console.print(f"note: {escape(text_of(note))}")
    if report.passed and report.launch:
        console.print(
            "To start Megatron-LM, run this in its directory, with your flags for data and training appended:"
        )
        console.print(f"  {escape(shlex.join(launch_command(report.launch)))}")
    for number, problem in enumerate(report.problems, 1):
        console.print(f"problem {number}: {escape(text_of(problem))}")


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Raise it: rich would exit with the status 1, which is that of a checkpoint with problems."""
        raise BrokenPipeError


def _console(out: TextIO) -> Console:
    # Output to a file or a pipe has no width.
    return _Console(file=out, highlight=False, soft_wrap=True, width=None if out.isatty() else 160)


def _number(number: int | None) -> str:
    return "" if number is None else f"{number:,}"
