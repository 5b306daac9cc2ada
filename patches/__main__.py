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

"""The command line: `python -m patches apply | status | pr`."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from patches.engine import AlreadyApplied, EditError, SeveralMatches
from patches.pull_request import GitError, make_pull_request
from patches.series import Series, SeriesError, load_series
from patches.tree import Attempt, attempt, patch, write_tree
from patches.upstream import UpstreamError, open_upstream


ROOT = Path(__file__).resolve().parent.parent


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Run a command.

    Args:
        arguments: The command line, without the program's name.
        root: The folder that holds `patches/` and `src/`.

    Returns:
        The exit status.
    """
    options = _parser().parse_args(arguments)
    try:
        series = load_series(root)
        if options.command == "pr":
            return _pull_request(series, options.upstream, options.to)
        with tempfile.TemporaryDirectory() as work:
            upstream = open_upstream(options.upstream, Path(work))
            if options.command == "status":
                return _status(attempt(series, upstream)[0])
            write_tree(upstream, patch(series, upstream), options.to)
            return 0
    except (EditError, GitError, OSError, SeriesError, UpstreamError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m patches", description="Apply the fork's edits to upstream.")
    commands = parser.add_subparsers(dest="command", required=True)
    apply = commands.add_parser("apply", help="write upstream's package with the fork's changes")
    status = commands.add_parser("status", help="show which edits apply to an upstream")
    pr = commands.add_parser("pr", help="write the changes as patches for an upstream checkout")
    for command in (apply, status, pr):
        command.add_argument(
            "--upstream",
            type=Path,
            required=command is pr,
            help="a git checkout" if command is pr else "a wheel, a checkout or an unpacked tree; default: the pin",
        )
    for command in (apply, pr):
        command.add_argument("--to", type=Path, required=True, help="the folder to write, new or empty")
    return parser


def _pull_request(series: Series, checkout: Path, to: Path) -> int:
    for path in make_pull_request(series, checkout, to):
        sys.stdout.write(f"{path}\n")
    return 0


def _status(attempts: list[Attempt]) -> int:
    rows = [("change", "edit", "file", "symbol", "state")]
    for each in attempts:
        edit = each.placed.edit
        rows.append((each.change.title, edit.name, each.placed.target, edit.symbol or "-", _state(each.error)))
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        sys.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() + "\n")
    return int(any(each.error for each in attempts))


def _state(error: EditError | None) -> str:
    if error is None:
        return "applies"
    if isinstance(error, AlreadyApplied):
        return "upstream has it"
    return f"{error.count} matches" if isinstance(error, SeveralMatches) else "no match"


if __name__ == "__main__":
    sys.exit(main())
