# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Upstream's package with the series applied."""

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libcst as cst

from patches.series import ADDED, Change, PlacedEdit, Series, SeriesError
from patches.syntax import AlreadyApplied, EditError, NoMatch, NotForIt, NotHere
from patches.upstream import PACKAGE, Upstream


@dataclass(frozen=True)
class Patched:
    """A change; why each of its edits does not apply, None if it does; and its files.

    Those of upstream's package are by their paths in it; `others` by theirs in upstream's repository.
    """

    change: Change
    attempts: list[tuple[PlacedEdit, EditError | None]]
    files: dict[str, bytes]
    others: dict[str, bytes]


def attempt(series: Series, upstream: Upstream, changes: Sequence[Change] = ()) -> list[Patched]:
    """Try every edit, of all changes or of some, each on what those before it left."""
    parsed: dict[str, Any] = {}
    patched = []
    for change in changes or series.changes:
        attempts, targets = [], set()
        for name in change.edits:
            placed = series.form(name, upstream.version)
            error = _try(placed, upstream, parsed) if placed else NotForIt("another version", upstream.version)
            attempts.append((placed or series.edits[name][0], error))
            if placed and error is None:
                targets.add(placed)
        edited = {placed.target: _bytes(parsed[placed.target]) for placed in targets}
        packaged = {placed.target for placed in targets if placed.is_packaged}
        files = {path: content for path, content in edited.items() if path in packaged}
        files |= {path: (series.root / ADDED / path).read_bytes() for path in change.adds}
        others = {path: content for path, content in edited.items() if path not in packaged}
        patched.append(Patched(change, attempts, files, others))
    return patched


def _try(placed: PlacedEdit, upstream: Upstream, parsed: dict[str, Any]) -> EditError | None:
    target = placed.target
    folder = upstream.root if placed.is_packaged else upstream.checkout
    if folder is None or (upstream.is_in_megatron_lm and not placed.is_packaged and not (folder / target).is_file()):
        return NotHere("this file", "none")
    try:
        if target not in parsed:
            if not (folder / target).is_file():
                raise NoMatch("this file", "none")
            content = (folder / target).read_bytes()
            parsed[target] = cst.parse_module(content) if target.endswith(".py") else content.decode()
        parsed[target] = placed.edit.apply(parsed[target])
        return None
    except EditError as refused:
        error = refused
    except UnicodeDecodeError as refused:
        error = EditError("a file in UTF-8", f"one that is not: {refused}")
    except (cst.ParserSyntaxError, SyntaxError) as refused:
        error = EditError("valid Python in the edit and in the file", f"'{str(refused).splitlines()[0]}'")
    placed.explain(error, upstream.version)
    return error


def _bytes(parsed: cst.Module | str) -> bytes:
    return parsed.encode() if isinstance(parsed, str) else parsed.bytes


def patch(series: Series, upstream: Upstream, changes: Sequence[Change] = (), has_some: bool = False) -> list[Patched]:
    """Apply changes, or all of them, in memory.

    Args:
        series: The series.
        upstream: What it is applied to.
        changes: The changes; all where there is none.
        has_some: Whether upstream may have some of the edits already.

    Raises:
        EditError: The first of an edit that does not fit.
        SeriesError: Where upstream has it all, or a file that is added.
    """
    patched = attempt(series, upstream, changes)
    errors = [error for each in patched for _, error in each.attempts]
    if errors and all(isinstance(error, AlreadyApplied) for error in errors):
        raise SeriesError(f"the series is already applied to {upstream.root}")
    passing = (NotForIt, NotHere, AlreadyApplied) if has_some else (NotForIt, NotHere)
    for error in (error for error in errors if error and not isinstance(error, passing)):
        raise error
    for path in (path for each in patched for path in each.change.adds if (upstream.root / path).exists()):
        raise SeriesError(f"upstream {upstream.version} has the added file {path} already")
    return patched


def write_tree(upstream: Upstream, patched: list[Patched], to: Path) -> None:
    """Write upstream's package with the changes to a new or empty folder, which appears when it is complete."""
    refuse_full(to)
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=to.parent, prefix=f".{to.name}-") as work:
        tree = Path(work, "tree")
        shutil.copytree(upstream.root / PACKAGE, tree / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
        for each in patched:
            write_files(each.files, tree)
        os.replace(tree, to)


def write_files(files: Mapping[str, bytes], root: Path) -> None:
    """Write files, by their paths in a folder."""
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)


def refuse_full(folder: Path) -> None:
    """Raise FileExistsError for a folder to write to that is no folder, or not empty."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is not an empty folder: remove it, or name another")
