# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The command line: `python -m patches apply | status | pr | upstream-tests`."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from patches.pull_request.checking import check_pull_request
from patches.pull_request.git import GitError
from patches.pull_request.making import make_pull_request
from patches.series import Series, SeriesError, load_series
from patches.syntax import AlreadyApplied, Changed, EditError, NoMatch, NotForIt, NotHere, OtherPath, SeveralMatches
from patches.tree import attempt, patch, write_tree
from patches.upstream import UpstreamError, open_upstream


ROOT = Path(__file__).resolve().parent.parent
STATES: dict[type, str] = {
    type(None): "applies",
    EditError: "no valid Python",
    NoMatch: "no match",
    SeveralMatches: "{} matches",
    Changed: "changed",
    AlreadyApplied: "upstream has it",
    OtherPath: "another path",
    NotForIt: "not for it",
    NotHere: "no such files here",
}


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Run a command line, on the repository in a folder; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        series = load_series(root)
        if options.command == "pr":
            made = make_pull_request(series, options.upstream, options.to, options.only)
            for line in made.left_out:
                print(f"left out: {line}", file=sys.stderr)
            for path in made.files:
                print(path)
            return 0
        if options.command == "upstream-tests":
            return check_pull_request(series, options.upstream, options.only)
        if options.command == "status":
            return _status(series, options.upstream or [None])
        with tempfile.TemporaryDirectory() as work:
            upstream = open_upstream(options.upstream, Path(work))
            write_tree(upstream, patch(series, upstream), options.to)
            return 0
    except (EditError, GitError, OSError, SeriesError, UpstreamError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m patches", description="Apply the fork's edits to upstream.")
    commands = parser.add_subparsers(dest="command", required=True)
    upstream = "a wheel, a checkout or an unpacked tree; default: the pinned wheel"
    for name, help, given in (
        ("apply", "write upstream's package with the fork's changes", upstream),
        ("status", "show which edits apply to an upstream, or to several", upstream),
        ("pr", "write the changes as patches for an upstream checkout", "a git checkout"),
        ("upstream-tests", "run upstream's checks on each change", "a git checkout"),
    ):
        command = commands.add_parser(name, help=help)
        on_checkout = name in ("pr", "upstream-tests")
        action = "append" if name == "status" else "store"
        command.add_argument("--upstream", type=Path, required=on_checkout, action=action, help=given)
        if name in ("apply", "pr"):
            command.add_argument("--to", type=Path, required=True, help="the folder to write, new or empty")
        if on_checkout:
            command.add_argument("--only", default="", metavar="KEY", help="one change alone, by its key")
    return parser


def _status(series: Series, sources: Sequence[Path | None]) -> int:
    """Print the state of every edit, in a column for each upstream; return whether one does not fit."""
    columns, errors = [], []
    for source in sources:
        with tempfile.TemporaryDirectory() as work:
            upstream = open_upstream(source, Path(work))
            tried = [one for patched in attempt(series, upstream) for one in patched.attempts]
        states = [STATES[type(error)].format(error.found.split()[0] if error else "") for _, error in tried]
        columns.append((upstream.version, *states))
        errors += [error for _, error in tried if error and not isinstance(error, NotForIt | NotHere)]
    named = [("", "edit", "file", "symbol")]
    for change in series.changes:
        for name in change.edits:
            placed = series.edits[name][0]
            named.append((change.key, placed.edit.name, placed.target, placed.edit.symbol or "-"))
    rows = [(*name, *states) for name, *states in zip(named, *columns)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    return int(bool(errors))


if __name__ == "__main__":
    sys.exit(main())
