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

"""Prints a report of a checkpoint as text."""

import shlex
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from megatron.bridge.release.verify.launch_flags import launch_command
from megatron.bridge.release.verify.report import Report


def print_report(report: Report, out: TextIO) -> None:
    """Print all of a report.

    Args:
        report: The report.
        out: Where to.
    """
    console = _console(out)
    console.print(escape(f"{report.root}: {report.layout or 'no checkpoint'}"))
    console.print(f"tracker: {escape(repr(report.tracker)) if report.tracker is not None else 'none'}")
    console.print(
        f"source model: {escape(report.source_model) if report.source_model is not None else 'not recorded'}"
    )
    console.print(f"args: {report.args or 'none'}")
    if report.files:
        files = Table("file", "bytes", "by the metadata", "state")
        for file in report.files:
            state = file.problem or ("as written" if file.verified else "there")
            files.add_row(escape(file.name), _number(file.size), _number(file.expected), escape(state))
        console.print(files)
    _print_findings(report, console)
    console.print("It loads." if report.passed else f"Problems: {len(report.problems)}.")


def print_made(report: Report, out: TextIO) -> None:
    """Print the result of an import: the files, their readers, and the command that starts Megatron-LM.

    Args:
        report: The report of a check.
        out: Where to.
    """
    console, root = _console(out), Path(report.root)
    top = Tree(escape(f"{root}/"))
    folders = {root: top}
    for path in sorted(root.rglob("*"), key=lambda path: (path.parent, path.is_dir(), path.name)):
        text = f"{path.name}/" if path.is_dir() else f"{path.name}  {path.stat().st_size:,} bytes"
        folders[path] = folders[path.parent].add(escape(text))
    console.print(top)
    _print_findings(report, console)


def _print_findings(report: Report, console: Console) -> None:
    readers = Table("reader", "loads it", "why not")
    for reader in report.readers:
        # A problem may be long, and is printed in full below.
        number = report.problems.index(reader.why) + 1 if reader.why in report.problems else None
        why = f"problem {number}" if number is not None else escape(reader.why)
        readers.add_row(escape(reader.name), "yes" if reader.loads else "no", why)
    console.print(readers)
    for note in report.notes:
        console.print(f"note: {escape(note)}")
    if report.passed and report.launch:
        console.print(
            "Start Megatron-LM from it, in Megatron-LM's folder, with your flags for data and training after:"
        )
        console.print(f"  {escape(shlex.join(launch_command(report.launch)))}")
    for number, problem in enumerate(report.problems, 1):
        console.print(f"problem {number}: {escape(problem)}")


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to the command; rich would exit with the status 1, which says that a checkpoint does not load."""
        raise BrokenPipeError


def _console(out: TextIO) -> Console:
    # Output that goes to no terminal has no width of its own.
    return _Console(file=out, highlight=False, soft_wrap=True, width=None if out.isatty() else 160)


def _number(number: int | None) -> str:
    return "" if number is None else f"{number:,}"
