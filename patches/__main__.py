# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The command line: `python -m patches apply | status | pr`."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from patches.pull_request import GitError, make_pull_request
from patches.series import SeriesError, load_series
from patches.syntax import AlreadyApplied, Changed, EditError, NoMatch, SeveralMatches
from patches.tree import Patched, attempt, patch, write_tree
from patches.upstream import UpstreamError, open_upstream


ROOT = Path(__file__).resolve().parent.parent
STATES: dict[type, str] = {
    type(None): "applies",
    EditError: "no valid Python",
    NoMatch: "no match",
    SeveralMatches: "{} matches",
    Changed: "changed",
    AlreadyApplied: "upstream has it",
}


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Run a command line, on the repository in a folder; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        series = load_series(root)
        if options.command == "pr":
            for path in make_pull_request(series, options.upstream, options.to):
                print(path)
            return 0
        with tempfile.TemporaryDirectory() as work:
            upstream = open_upstream(options.upstream, Path(work))
            if options.command == "status":
                return _status(attempt(series, upstream))
            write_tree(upstream, patch(series, upstream), options.to)
            return 0
    except (EditError, GitError, OSError, SeriesError, UpstreamError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m patches", description="Apply the fork's edits to upstream.")
    commands = parser.add_subparsers(dest="command", required=True)
    upstream = "a wheel, a checkout or an unpacked tree; default: the pinned wheel"
    for name, help, given in (
        ("apply", "write upstream's package with the fork's changes", upstream),
        ("status", "show which edits apply to an upstream", upstream),
        ("pr", "write the changes as patches for an upstream checkout", "a git checkout"),
    ):
        command = commands.add_parser(name, help=help)
        command.add_argument("--upstream", type=Path, required=name == "pr", help=given)
        if name != "status":
            command.add_argument("--to", type=Path, required=True, help="the folder to write, new or empty")
    return parser


def _status(patched: list[Patched]) -> int:
    rows = [("change", "edit", "file", "symbol", "state")]
    for each in patched:
        for placed, error in each.attempts:
            edit, state = placed.edit, STATES[type(error)].format(error.found.split()[0] if error else "")
            rows.append((each.change.title, edit.name, placed.target, edit.symbol or "-", state))
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    return int(any(error for each in patched for _, error in each.attempts))


if __name__ == "__main__":
    sys.exit(main())
