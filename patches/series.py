# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The ordered list of changes that make up the fork, `patches/series.toml`."""

import importlib.util
import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from patches.edit import Edit


SERIES, EDITS, ADDED = Path("patches", "series.toml"), Path("patches", "edits"), Path("src")


class SeriesError(Exception):
    """The series and the files that it names do not agree."""


@dataclass(frozen=True)
class PlacedEdit:
    """An edit, the file of upstream that it edits, and the file that holds it."""

    edit: Edit
    target: str
    home: str


@dataclass(frozen=True)
class Change:
    """What becomes one commit of a pull request.

    It `adds` files of `src/` to upstream, has `edits`, named `module:name`, in their order, and `copies` other files of
    this repository: their paths here, and in upstream's repository.
    """

    title: str
    body: str
    adds: list[str] = field(default_factory=list)
    edits: list[str] = field(default_factory=list)
    copies: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Series:
    """All changes, in order, and all edits, by their names; and the folder of this repository."""

    root: Path
    changes: list[Change]
    edits: dict[str, PlacedEdit]


def load_series(root: Path) -> Series:
    """Read the series of a repository, or raise a SeriesError where it and the files do not agree both ways."""
    try:
        changes = [_load_change(table) for table in tomllib.loads((root / SERIES).read_text()).get("change", [])]
    except tomllib.TOMLDecodeError as error:
        raise SeriesError(f"{SERIES}: {error}") from None
    edits: dict[str, PlacedEdit] = {}
    for path in sorted((root / EDITS).glob("[!_]*.py")):
        edits |= _load_edits(path)
    _require_all("edit", (key for change in changes for key in change.edits), edits, EDITS)
    files = [path.relative_to(root / ADDED) for path in (root / ADDED).rglob("*") if path.is_file()]
    added = [path.as_posix() for path in files if "__pycache__" not in path.parts]
    _require_all("added file", (path for change in changes for path in change.adds), added, ADDED)
    for name in (path for change in changes for path in change.copies if not (root / path).is_file()):
        raise SeriesError(f"{SERIES} copies '{name}', which does not exist")
    return Series(root, changes, edits)


def _load_change(table: dict[str, Any]) -> Change:
    for key in ("title", "body"):
        if not table.get(key, "").strip():
            raise SeriesError(f"{SERIES}: the change '{table.get('title', '')}' has no {key}")
    for key in table.keys() - Change.__dataclass_fields__.keys():
        raise SeriesError(f"{SERIES}: the change '{table['title']}' has an unknown key '{key}'")
    return Change(**table)


def _require_all(kind: str, named: Iterable[str], existing: Iterable[str], folder: Path) -> None:
    counts, there = Counter(named), set(existing)
    for name in sorted(counts.keys() - there):
        raise SeriesError(f"{SERIES} names the {kind} '{name}', which is not in {folder}/")
    for name in sorted(there - counts.keys()):
        raise SeriesError(f"the {kind} '{name}' is in {folder}/ but in no change of {SERIES}")
    for name in (name for name, count in counts.items() if count > 1):
        raise SeriesError(f"the {kind} '{name}' stands {counts[name]} times in {SERIES}")


def _load_edits(path: Path) -> dict[str, PlacedEdit]:
    home = (EDITS / path.name).as_posix()
    spec = importlib.util.spec_from_file_location(f"patches.edits.{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        target, edits = module.TARGET, module.EDITS
    except Exception as error:
        raise SeriesError(f"{home}: {type(error).__name__}: {error}") from error
    for name, count in Counter(edit.name for edit in edits).items():
        if count > 1:
            raise SeriesError(f"{home}: the name '{name}' stands for {count} edits")
    for edit in edits:
        if not (edit.why.strip() and edit.drop_when.strip()):
            raise SeriesError(f"{home}: the edit '{edit.name}' does not say why it is there and when to drop it")
    return {f"{path.stem}:{edit.name}": PlacedEdit(edit, target, home) for edit in edits}
