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

"""Upstream's package with the series applied."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from patches.engine import AlreadyApplied, EditError, NoMatch, Where
from patches.series import ADDED, Change, PlacedEdit, Series, SeriesError
from patches.upstream import PACKAGE, Upstream


@dataclass(frozen=True)
class Attempt:
    """What came of one edit.

    Args:
        change: The change that it is part of.
        placed: The edit.
        error: Why it does not apply; None if it does.
    """

    change: Change
    placed: PlacedEdit
    error: EditError | None


@dataclass(frozen=True)
class Patched:
    """What a change writes.

    Args:
        change: The change.
        files: The content of each file that it edits or adds, by its path in the package.
    """

    change: Change
    files: dict[str, bytes]


def attempt(series: Series, upstream: Upstream) -> tuple[list[Attempt], list[Patched]]:
    """Try every edit, each on what those before it left.

    Args:
        series: The series.
        upstream: What to edit.

    Returns:
        What came of each edit, and what each change writes.
    """
    texts: dict[str, str] = {}
    attempts: list[Attempt] = []
    patched: list[Patched] = []
    for change in series.changes:
        for placed in change.edits:
            error = _try(placed, upstream, texts)
            attempts.append(Attempt(change, placed, error))
        files = {placed.target: texts.get(placed.target, "").encode() for placed in change.edits}
        added = {path: (series.root / ADDED / path).read_bytes() for path in change.adds}
        patched.append(Patched(change, files | added))
    return attempts, patched


def _try(placed: PlacedEdit, upstream: Upstream, texts: dict[str, str]) -> EditError | None:
    where = Where(placed.target, placed.home, upstream.version)
    path = upstream.root / placed.target
    if not path.is_file():
        error: EditError = NoMatch("this file", "none")
        placed.edit.explain(error, where)
        return error
    try:
        texts[placed.target] = placed.edit.apply(texts.setdefault(placed.target, path.read_bytes().decode()), where)
    except EditError as refused:
        return refused
    return None


def patch(series: Series, upstream: Upstream) -> list[Patched]:
    """Apply the series, in memory.

    Args:
        series: The series.
        upstream: What to edit.

    Returns:
        What each change writes.

    Raises:
        EditError: If an edit does not apply.
        SeriesError: If the whole series is there already, or upstream has a file that it adds.
    """
    attempts, patched = attempt(series, upstream)
    errors = [each.error for each in attempts if each.error]
    if errors and all(isinstance(each.error, AlreadyApplied) for each in attempts):
        raise SeriesError(f"the series is already applied to {upstream.root}")
    if errors:
        raise errors[0]
    for path in (path for change in series.changes for path in change.adds if (upstream.root / path).exists()):
        raise SeriesError(f"upstream {upstream.version} has the added file {path} already")
    return patched


def write_tree(upstream: Upstream, patched: list[Patched], to: Path) -> None:
    """Write upstream's package with the changes to a folder, which appears when it is complete.

    Args:
        upstream: The package.
        patched: What the changes write.
        to: The folder, which does not exist or is empty.

    Raises:
        FileExistsError: If there is something in the folder.
    """
    refuse_full(to)
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=to.parent, prefix=f".{to.name}-") as work:
        tree = Path(work, "tree")
        shutil.copytree(upstream.root / PACKAGE, tree / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
        write_files({path: content for each in patched for path, content in each.files.items()}, tree)
        os.replace(tree, to)


def write_files(files: dict[str, bytes], root: Path) -> None:
    """Write files, by their paths in a folder."""
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)


def refuse_full(folder: Path) -> None:
    """Refuse a folder to write to that is no folder, or not empty.

    Raises:
        FileExistsError: If it is so.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is not an empty folder")
