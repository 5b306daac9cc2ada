# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Upstream's package with the series applied."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import libcst as cst

from patches.series import ADDED, Change, PlacedEdit, Series, SeriesError
from patches.syntax import AlreadyApplied, EditError, NoMatch
from patches.upstream import PACKAGE, Upstream


@dataclass(frozen=True)
class Patched:
    """A change; why each of its edits does not apply, None if it does; and its files, by their paths in the package."""

    change: Change
    attempts: list[tuple[PlacedEdit, EditError | None]]
    files: dict[str, bytes]


def attempt(series: Series, upstream: Upstream) -> list[Patched]:
    """Try every edit, each on what those before it left."""
    modules: dict[str, cst.Module] = {}
    patched = []
    for change in series.changes:
        placed = [series.edits[key] for key in change.edits]
        attempts = [(each, _try(each, upstream, modules)) for each in placed]
        files = {path: modules[path].bytes for path in {each.target for each in placed} & modules.keys()}
        files |= {path: (series.root / ADDED / path).read_bytes() for path in change.adds}
        patched.append(Patched(change, attempts, files))
    return patched


def _try(placed: PlacedEdit, upstream: Upstream, modules: dict[str, cst.Module]) -> EditError | None:
    path = upstream.root / placed.target
    try:
        if placed.target not in modules:
            if not path.is_file():
                raise NoMatch("this file", "none")
            modules[placed.target] = cst.parse_module(path.read_bytes())
        modules[placed.target] = placed.edit.apply(modules[placed.target])
        return None
    except EditError as refused:
        error = refused
    except (cst.ParserSyntaxError, SyntaxError) as refused:
        error = EditError("valid Python in the edit and in the file", f"'{str(refused).splitlines()[0]}'")
    placed.edit.explain(error, placed.target, placed.home, upstream.version)
    return error


def patch(series: Series, upstream: Upstream) -> list[Patched]:
    """Apply the series, in memory, or raise the first EditError, or a SeriesError where upstream has it all."""
    patched = attempt(series, upstream)
    errors = [error for each in patched for _, error in each.attempts]
    if errors and all(isinstance(error, AlreadyApplied) for error in errors):
        raise SeriesError(f"the series is already applied to {upstream.root}")
    for error in filter(None, errors):
        raise error
    for path in (path for change in series.changes for path in change.adds if (upstream.root / path).exists()):
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
        raise FileExistsError(f"{folder} exists and is not an empty folder")
