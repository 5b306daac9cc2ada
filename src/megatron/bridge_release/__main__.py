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


"""``python -m megatron.bridge_release``: check, repair and revert checkpoints."""

import argparse
import json
import logging
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from megatron.bridge_release.checking import check
from megatron.bridge_release.layout import COMMON_STATE, RELEASE
from megatron.bridge_release.report import Report
from megatron.bridge_release.source import require_source


if TYPE_CHECKING:
    from megatron.bridge_release.computing import Proof


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: The command line's words; those of the process where None.

    Returns:
        The exit status: 0 where the checkpoint loads, or the work is done; 1 where not; 2 for a wrong command line;
        3 where the checkpoint loads, and this host cannot compute what was to be proven by computing.
    """
    parser = argparse.ArgumentParser(prog="python -m megatron.bridge_release", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in {
        "check": "tell whether a checkpoint loads, who can load it, and how to start from it",
        "repair": "turn an import of upstream's, or what a hook has left of one, into a release",
        "revert": "give a release upstream's layout back",
    }.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("path", type=_path, metavar="ROOT", help="checkpoint root, which holds the tracker")
        if name == "check":
            command.add_argument(
                "--deep", metavar="HF_MODEL", help="compare every tensor with this Hugging Face model's, bit by bit"
            )
            command.add_argument(
                "--made-of", metavar="HF_MODEL", help="see whether it was made of this Hugging Face model"
            )
            command.add_argument(
                "--compute",
                metavar="HF_MODEL",
                help="compute with the first layers, in Megatron-LM and in transformers, and compare the logits",
            )
            command.add_argument("--json", action="store_true", help="print JSON")
        else:
            command.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s")
    if options.command == "check":
        return _check(options)
    from megatron.bridge_release.repairing import repair, revert

    try:
        with _quietly():
            steps = (repair if options.command == "repair" else revert)(options.path, dry_run=options.dry_run)
    except (ValueError, RuntimeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for step in steps or ["nothing to do"]:
        print(step)
    return 0


def _path(text: str) -> Path:
    """Read a path, in which no shell has replaced the ``~`` where it is quoted."""
    return Path(os.path.expanduser(text))


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep what Bridge prints and tells of itself out of the answer; its warnings pass."""
    disabled = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        logging.disable(disabled)


def _check(options: argparse.Namespace) -> int:
    report = check(options.path)
    if options.made_of is not None:
        if report.problems and not (options.path / RELEASE).is_dir():
            report.notes.append(f"Not asked whether it was made of {options.made_of}: the problems come first.")
        else:
            try:
                require_source(options.path, options.made_of)
            except (ValueError, OSError) as error:
                report.problems.append(str(error))
    proof = None
    for hf_model, work, undone in (
        (options.deep, _compare, "Not compared with"),
        (options.compute, _compute, "Not computed with"),
    ):
        if hf_model is None:
            continue
        # Megatron Core reads the common state first, which a repair writes anew.
        unreadable = any(file.name == COMMON_STATE and file.problem is not None for file in report.files)
        if report.folder is None or report.beyond_repair or unreadable or (work is _compute and report.problems):
            report.notes.append(f"{undone} {hf_model}: the problems come first.")
            continue
        try:
            with _quietly():
                proof = work(report, hf_model)
        except Exception as error:
            # Bridge and transformers read the model; what they raise for a wrong one is theirs.
            told, kind = " ".join(str(error).split()), type(error).__name__
            told = told if told and isinstance(error, (ValueError, OSError)) else f"{kind}: {told or 'no message'}"
            report.problems.append(f"{undone} {hf_model}: {told}")
    unproven = proof is not None and proof.unproven is not None
    if options.json:
        values = asdict(report) | {"loadable": report.loadable}
        if proof is not None:
            # JSON has no infinity.
            difference = proof.difference if proof.difference != float("inf") else None
            values["proof"] = asdict(proof) | {"difference": difference, "agrees": proof.agrees}
        print(json.dumps(values, indent=2))
    else:
        _print(report)
        if unproven:
            print(proof)
    return 1 if not report.loadable else 3 if unproven else 0


def _compare(report: Report, hf_model: str) -> None:
    assert report.folder is not None
    # It imports torch and all of Bridge, which takes many seconds.
    from megatron.bridge_release.comparing import compare

    equal, problems = compare(Path(report.root, report.folder), hf_model)
    report.problems += problems
    report.notes.append(f"{equal} tensors are bit by bit those of {hf_model}.")


def _compute(report: Report, hf_model: str) -> "Proof":
    from megatron.bridge_release.computing import prove

    proof = prove(Path(report.root), hf_model)
    if proof.unproven is None:
        (report.notes if proof.agrees else report.problems).append(f"{proof}.")
        report.notes += proof.notes
    return proof


def _print(report: Report) -> None:
    # Where nobody looks at it as it is printed, no terminal says how wide it may be.
    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 160)
    console.print(escape(f"{report.root}: {report.layout or 'no checkpoint'}"))
    console.print(f"tracker: {escape(repr(report.tracker)) if report.tracker is not None else 'none'}")
    console.print(f"made of: {escape(report.made_of) if report.made_of is not None else 'not known'}")
    console.print(f"args: {report.args or 'none'}")
    files = Table("file", "bytes", "by the metadata", "state")
    for file in report.files:
        state = file.problem or ("as written" if file.verified else "there")
        files.add_row(escape(file.name), _number(file.size), _number(file.expected), escape(state))
    readers = Table("reader", "loads it", "why not")
    for reader in report.readers:
        # The first cause may be long: it stands below.
        number = report.problems.index(reader.why) + 1 if reader.why in report.problems else None
        why = f"problem {number}" if number is not None else escape(reader.why)
        readers.add_row(escape(reader.name), "yes" if reader.loads else "no", why)
    for table in (files, readers):
        console.print(table)
    for note in report.notes:
        console.print(f"note: {escape(note)}")
    if report.loadable and report.launch:
        console.print(f"Start Megatron-LM from it with:\n  {escape(shlex.join(report.launch))}")
    for number, problem in enumerate(report.problems, 1):
        console.print(f"problem {number}: {escape(problem)}")
    console.print("It loads." if report.loadable else f"Problems: {len(report.problems)}.")


def _number(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


if __name__ == "__main__":
    sys.exit(main())
