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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from megatron.bridge_release.checking import check
from megatron.bridge_release.errors import in_one_line
from megatron.bridge_release.layout import COMMON_STATE, RELEASE
from megatron.bridge_release.report import Report
from megatron.bridge_release.source import require_source


if TYPE_CHECKING:
    from megatron.bridge_release.computing import Proof


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Words of the command line; those of the process if None.

    Returns:
        The exit status: 0 if the checkpoint loads or the work is done; 1 if not; 3 if the checkpoint loads, but this
        host cannot compute what was to be proven.

    Raises:
        SystemExit: If the command line is wrong, with the status 2, or asks for help.
    """
    options = _make_parser().parse_args(arguments)
    logging.basicConfig(format="%(message)s")
    return _check(options) if options.command == "check" else _convert(options)


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m megatron.bridge_release", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in {
        "check": "tell whether a checkpoint loads, who can load it, and how to start from it",
        "repair": "turn an import of upstream's, or what a hook has left of one, into a release",
        "revert": "give a release upstream's layout back",
    }.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("path", type=_path, metavar="ROOT", help="checkpoint root, which holds the tracker")
        if name != "check":
            command.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")
            continue
        for flag, work in {
            "--deep": "compare every tensor with this Hugging Face model's, bit by bit",
            "--made-of": "see whether it was made of this Hugging Face model",
            "--compute": "compute with the first layers, in Megatron-LM and in transformers, and compare the logits",
        }.items():
            command.add_argument(flag, metavar="HF_MODEL", help=work)
        command.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _path(text: str) -> Path:
    """Return a path with its ``~`` expanded, which a shell leaves alone inside quotes."""
    return Path(os.path.expanduser(text))


def _convert(options: argparse.Namespace) -> int:
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


@contextmanager
def _quietly() -> Iterator[None]:
    """Send what Bridge prints to stderr and drop its log messages below warnings."""
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
        _check_source(report, options.path, options.made_of)
    if options.deep is not None:
        _use_model(report, options.deep, _compare, "Not compared with", possible=_is_readable(report))
    proof = None
    if options.compute is not None:
        possible = _is_readable(report) and not report.problems
        proof = _use_model(report, options.compute, _compute, "Not computed with", possible=possible)
    unproven = proof is not None and proof.unproven is not None
    if options.json:
        print(json.dumps(_json_values(report, proof), indent=2))
    else:
        _print(report)
        if unproven:
            print(proof)
    if not report.passed:
        return 1
    return 3 if unproven else 0


def _check_source(report: Report, root: Path, hf_model: str) -> None:
    if report.problems and not (root / RELEASE).is_dir():
        report.notes.append(f"Not asked whether it was made of {hf_model}: the problems come first.")
        return
    try:
        require_source(root, hf_model)
    except (ValueError, OSError) as error:
        report.problems.append(str(error))


def _is_readable(report: Report) -> bool:
    """Return whether the tensors can be read, and the common state, which Megatron Core reads before them."""
    damaged = any(file.name == COMMON_STATE and file.problem is not None for file in report.files)
    return report.folder is not None and not report.beyond_repair and not damaged


def _use_model(
    report: Report, hf_model: str, work: Callable[[Report, str], "Proof | None"], undone: str, *, possible: bool
) -> "Proof | None":
    """Do work that needs the Hugging Face model, and report why it was not done.

    Args:
        report: The report, to which the work adds what it finds.
        hf_model: Hugging Face model ID, or folder of a model.
        work: The work.
        undone: What to say of work that was not done, before the model's name.
        possible: Whether the checkpoint is fit for the work.

    Returns:
        What the work returns; None if it was not done.
    """
    if not possible:
        report.notes.append(f"{undone} {hf_model}: the problems come first.")
        return None
    try:
        with _quietly():
            return work(report, hf_model)
    except Exception as error:
        # Bridge and transformers read the model; what they raise for a wrong one is up to them.
        message = " ".join(str(error).split())
        if not message or not isinstance(error, (ValueError, OSError)):
            message = in_one_line(error)
        report.problems.append(f"{undone} {hf_model}: {message}")
        return None


def _compare(report: Report, hf_model: str) -> None:
    # It imports torch and all of Bridge, which takes many seconds.
    from megatron.bridge_release.comparing import compare

    assert report.folder is not None
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


def _json_values(report: Report, proof: "Proof | None") -> dict[str, Any]:
    values = asdict(report) | {"loadable": report.passed}
    if proof is not None:
        # JSON has no infinity.
        difference = proof.difference if proof.difference != float("inf") else None
        values["proof"] = asdict(proof) | {"difference": difference, "agrees": proof.agrees}
    return values


def _print(report: Report) -> None:
    # Output that goes to no terminal has no width of its own.
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
        # A problem may be long, and is printed in full below.
        number = report.problems.index(reader.why) + 1 if reader.why in report.problems else None
        why = f"problem {number}" if number is not None else escape(reader.why)
        readers.add_row(escape(reader.name), "yes" if reader.loads else "no", why)
    for table in (files, readers):
        console.print(table)
    for note in report.notes:
        console.print(f"note: {escape(note)}")
    if report.passed and report.launch:
        console.print(f"Start Megatron-LM from it with:\n  {escape(shlex.join(report.launch))}")
    for number, problem in enumerate(report.problems, 1):
        console.print(f"problem {number}: {escape(problem)}")
    console.print("It loads." if report.passed else f"Problems: {len(report.problems)}.")


def _number(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


if __name__ == "__main__":
    sys.exit(main())
