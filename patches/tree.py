# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Upstream's package with the series applied."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libcst as cst

from patches.files import format_files, require_empty, write_files
from patches.series import ADDED, Change, PlacedEdit, Series, SeriesError
from patches.syntax import AlreadyApplied, EditError, NoMatch, NotForIt, NotHere
from patches.upstream import PACKAGE, Upstream, is_packaged


@dataclass(frozen=True)
class Patched:
    """A change applied to upstream.

    Args:
        change: The change.
        attempts: Its edits, each with the error that it raised, or None if it applies.
        edited: The files that it edits, as they are after it: by their paths in upstream, not formatted yet.
        added: The files that it adds.
    """

    change: Change
    attempts: list[tuple[PlacedEdit, EditError | None]]
    edited: dict[str, cst.Module | str]
    added: dict[str, bytes]


def attempt(series: Series, upstream: Upstream, changes: Sequence[Change] = ()) -> list[Patched]:
    """Try every edit of all changes, or of some, each on the result of those before it."""
    parsed: dict[str, Any] = {}
    patched = []
    for change in changes or series.changes:
        attempts, edited = [], {}
        for name in change.edits:
            placed = series.form(name, upstream.version)
            error = _try(placed, upstream, parsed) if placed else NotForIt("another version", upstream.version)
            attempts.append((placed or series.edits[name][0], error))
            if placed and error is None:
                edited[placed.target] = parsed[placed.target]
        added = {path: (series.root / ADDED / path).read_bytes() for path in change.adds}
        patched.append(Patched(change, attempts, edited, added))
    return patched


def _try(placed: PlacedEdit, upstream: Upstream, parsed: dict[str, Any]) -> EditError | None:
    target = placed.target
    packaged = is_packaged(target)
    folder = upstream.root if packaged else upstream.checkout
    if folder is None or (upstream.is_in_megatron_lm and not packaged and not (folder / target).is_file()):
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


def patch(series: Series, upstream: Upstream, changes: Sequence[Change] = (), has_some: bool = False) -> list[Patched]:
    """Apply changes, or all of them, in memory.

    Args:
        changes: The changes; () for all.
        has_some: Whether upstream may already contain some of the edits.

    Raises:
        EditError: The first error of an edit that does not fit.
        SeriesError: Upstream already contains the series, or a file that it adds.
    """
    patched = attempt(series, upstream, changes)
    errors = [error for each in patched for _, error in each.attempts]
    if errors and all(isinstance(error, AlreadyApplied) for error in errors):
        raise SeriesError(f"the series is already applied to {upstream.root}")
    passing = (NotForIt, NotHere, AlreadyApplied) if has_some else (NotForIt, NotHere)
    for error in (error for error in errors if error and not isinstance(error, passing)):
        raise error
    for path in (path for each in patched for path in each.change.adds if (upstream.root / path).exists()):
        raise SeriesError(f"upstream {upstream.version} already contains the added file {path}")
    return patched


def changed_files(patched: Sequence[Patched]) -> dict[str, bytes]:
    """Return the files that changes edit and add, as they are after the last one, formatted."""
    edited = {path: content for each in patched for path, content in each.edited.items()}
    texts = {path: text.encode() if isinstance(text, str) else text.bytes for path, text in edited.items()}
    return format_files(texts) | {path: content for each in patched for path, content in each.added.items()}


def write_tree(upstream: Upstream, patched: Sequence[Patched], to: Path) -> None:
    """Write upstream's package with the changes to a new or empty folder, which appears when it is complete."""
    require_empty(to)
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=to.parent, prefix=f".{to.name}-") as work:
        tree = Path(work, "tree")
        shutil.copytree(upstream.root / PACKAGE, tree / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
        write_files({path: text for path, text in changed_files(patched).items() if is_packaged(path)}, tree)
        os.replace(tree, to)
