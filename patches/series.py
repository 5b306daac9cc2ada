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

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from patches.edit import Edit
from patches.syntax import AlreadyApplied, Changed, EditError
from patches.text_edit import TextEdit
from patches.upstream import VERSION


SERIES, EDITS, ADDED = Path("patches", "series.toml"), Path("patches", "edits"), Path("src")


class SeriesError(Exception):
    """The series does not match the files of the repository."""


@dataclass(frozen=True)
class PlacedEdit:
    """An edit, the file of upstream that it edits, and the file that contains it."""

    edit: Edit | TextEdit
    target: str
    home: str

    def explain(self, error: EditError, version: str) -> None:
        """Add the edit, its file and the next step to an error."""
        error.context = f"{self.target}: edit '{self.edit.name}' of {self.edit.symbol or 'the module'}: "
        error.advice = f" (upstream {version}, pinned {VERSION}). "
        if isinstance(error, AlreadyApplied):
            error.advice += f"Upstream already contains the change: remove the edit from {SERIES} and {self.home}."
            return
        digest = "If the edit is still right, replace its digest in" if isinstance(error, Changed) else "Correct"
        error.advice += f"Read {self.target} in this upstream. {digest} {self.home}. "
        error.advice += "To list all edits, run: python -m patches status --upstream PATH"


@dataclass(frozen=True)
class Change:
    """One commit and one pull request, by its `key`.

    A change `adds` files of `src/`, has `edits`, named `module:name`, in order, and `tests`: their paths here, mapped to
    those in upstream's repository. The other fields are for the text of the pull request: the issues that it `closes`, the
    behavior `before` and `after` it, what was `tested`, and what was `untested`.
    """

    key: str
    title: str
    body: str
    adds: list[str] = field(default_factory=list)
    edits: list[str] = field(default_factory=list)
    tests: dict[str, str] = field(default_factory=dict)
    closes: list[str] = field(default_factory=list)
    before: str = ""
    after: str = ""
    tested: str = ""
    untested: str = ""


@dataclass(frozen=True)
class Series:
    """All changes in order, the forms of each edit by its name, and the folder of this repository."""

    root: Path
    changes: list[Change]
    edits: dict[str, list[PlacedEdit]]

    def form(self, name: str, version: str) -> PlacedEdit | None:
        """Return the form of an edit for a version of upstream, or None."""
        forms = [placed for placed in self.edits[name] if is_for(placed.edit.versions, version)]
        if len(forms) > 1:
            raise SeriesError(f"{forms[0].home}: {len(forms)} forms of the edit '{name}' are for upstream {version}")
        return forms[0] if forms else None


def is_for(versions: str, version: str) -> bool:
    """Return whether a version of upstream matches a specifier, as in `<0.7`. An empty one matches every version."""
    return SpecifierSet(versions).contains(Version(version).base_version, prereleases=True)


def load_series(root: Path) -> Series:
    """Read the series of a repository. Raise a SeriesError if it does not list exactly the existing files."""
    try:
        changes = [_load_change(table) for table in tomllib.loads((root / SERIES).read_text()).get("change", [])]
    except tomllib.TOMLDecodeError as error:
        raise SeriesError(f"{SERIES}: {error}") from None
    edits: dict[str, list[PlacedEdit]] = {}
    for path in sorted((root / EDITS).glob("[!_]*.py")):
        edits |= _load_edits(path)
    _require_all("edit", (key for change in changes for key in change.edits), edits, EDITS)
    files = [path.relative_to(root / ADDED) for path in (root / ADDED).rglob("*") if path.is_file()]
    added = [path.as_posix() for path in files if "__pycache__" not in path.parts]
    _require_all("added file", (path for change in changes for path in change.adds), added, ADDED)
    for name in (path for change in changes for path in change.tests if not (root / path).is_file()):
        raise SeriesError(f"{SERIES} lists the test '{name}', which does not exist")
    for key, count in Counter(change.key for change in changes).items():
        if count > 1:
            raise SeriesError(f"{SERIES}: {count} changes have the key '{key}'")
    return Series(root, changes, edits)


def _load_change(table: dict[str, Any]) -> Change:
    for key in ("key", "title", "body"):
        if not table.get(key, "").strip():
            raise SeriesError(f"{SERIES}: the change '{table.get('title', '')}' has no {key}")
    for key in table.keys() - Change.__dataclass_fields__.keys():
        raise SeriesError(f"{SERIES}: the change '{table['title']}' has an unknown key '{key}'")
    return Change(**table)


def _require_all(kind: str, named: Iterable[str], existing: Iterable[str], folder: Path) -> None:
    counts, there = Counter(named), set(existing)
    for name in sorted(counts.keys() - there):
        raise SeriesError(f"{SERIES} lists the {kind} '{name}', which is not in {folder}/")
    for name in sorted(there - counts.keys()):
        raise SeriesError(f"the {kind} '{name}' is in {folder}/ but in no change of {SERIES}")
    for name in (name for name, count in counts.items() if count > 1):
        raise SeriesError(f"the {kind} '{name}' is listed {counts[name]} times in {SERIES}")


def _load_edits(path: Path) -> dict[str, list[PlacedEdit]]:
    home = (EDITS / path.name).as_posix()
    spec = importlib.util.spec_from_file_location(f"patches.edits.{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        target, edits = module.TARGET, module.EDITS
    except Exception as error:
        raise SeriesError(f"{home}: {type(error).__name__}: {error}") from error
    for (name, versions), count in Counter((edit.name, edit.versions) for edit in edits).items():
        if count > 1:
            raise SeriesError(f"{home}: {count} edits{f' for {versions}' * bool(versions)} have the name '{name}'")
    for edit in edits:
        if not (edit.why.strip() and edit.drop_when.strip()):
            raise SeriesError(f"{home}: the edit '{edit.name}' needs a text in both why and drop_when")
    forms: dict[str, list[PlacedEdit]] = {}
    for edit in edits:
        forms.setdefault(f"{path.stem}:{edit.name}", []).append(PlacedEdit(edit, target, home))
    return forms
