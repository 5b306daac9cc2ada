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

"""The ordered list of changes that make up the fork, `patches/series.toml`."""

import importlib.util
import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from patches.engine import Edit


SERIES = Path("patches", "series.toml")
EDITS = Path("patches", "edits")
ADDED = Path("src")


class SeriesError(Exception):
    """The series and the files that it names do not agree."""


@dataclass(frozen=True)
class PlacedEdit:
    """An edit, and where it belongs.

    Args:
        key: Its name in the series, `module:name`.
        target: The file of upstream that it edits.
        edit: The edit.
    """

    key: str
    target: str
    edit: Edit

    @property
    def home(self) -> str:
        """The file that holds the edit."""
        return (EDITS / f"{self.key.partition(':')[0]}.py").as_posix()


@dataclass(frozen=True)
class Change:
    """What becomes one commit of a pull request.

    Args:
        title: The commit's title.
        body: Why the change is made.
        adds: Files of `src/` that it adds to upstream.
        edits: Its edits to upstream's files, in order.
        copies: Files of this repository that go along in a pull request but not in the package, as tests and
            documentation do: their paths here, and in upstream's repository.
    """

    title: str
    body: str
    adds: tuple[str, ...]
    edits: tuple[PlacedEdit, ...]
    copies: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Series:
    """All changes, in order.

    Args:
        root: The folder of this repository.
        changes: The changes.
    """

    root: Path
    changes: tuple[Change, ...]


def load_series(root: Path) -> Series:
    """Read the series, and check that it and the files agree both ways.

    Args:
        root: The folder that holds `patches/` and `src/`.

    Returns:
        The series.

    Raises:
        SeriesError: If an edit or a file is missing, stands nowhere, or stands twice.
    """
    try:
        table = tomllib.loads((root / SERIES).read_text())
    except tomllib.TOMLDecodeError as error:
        raise SeriesError(f"{SERIES}: {error}") from None
    edits = {placed.key: placed for path in sorted((root / EDITS).glob("[!_]*.py")) for placed in _load_edits(path)}
    changes = [_named(change) for change in table.get("change", [])]
    _check_all("edit", (key for change in changes for key in change["edits"]), edits, EDITS)
    _check_all("added file", (path for change in changes for path in change["adds"]), _added_files(root), ADDED)
    for path in (path for change in changes for path in change["copies"] if not (root / path).is_file()):
        raise SeriesError(f"{SERIES} copies '{path}', which does not exist")
    return Series(
        root,
        tuple(
            Change(
                change["title"],
                change["body"].strip(),
                tuple(change["adds"]),
                tuple(edits[key] for key in change["edits"]),
                change["copies"],
            )
            for change in changes
        ),
    )


def _named(change: dict[str, Any]) -> dict[str, Any]:
    """A change's table, with what it may leave out."""
    for key in ("title", "body"):
        if not change.get(key, "").strip():
            raise SeriesError(f"{SERIES}: the change '{change.get('title', '')}' has no {key}")
    full = {"adds": [], "edits": [], "copies": {}, **change}
    for key in sorted(full.keys() - {"title", "body", "adds", "edits", "copies"}):
        raise SeriesError(f"{SERIES}: the change '{change['title']}' has an unknown key '{key}'")
    return full


def _check_all(kind: str, named: Iterable[str], existing: Iterable[str], folder: Path) -> None:
    counts, there = Counter(named), set(existing)
    for name in sorted(counts.keys() - there):
        raise SeriesError(f"{SERIES} names the {kind} '{name}', which is not in {folder}/")
    for name in sorted(there - counts.keys()):
        raise SeriesError(f"the {kind} '{name}' is in {folder}/ but in no change of {SERIES}")
    for name, count in counts.items():
        if count > 1:
            raise SeriesError(f"the {kind} '{name}' stands {count} times in {SERIES}")


def _added_files(root: Path) -> list[str]:
    files = (path.relative_to(root / ADDED) for path in (root / ADDED).rglob("*") if path.is_file())
    return [path.as_posix() for path in files if "__pycache__" not in path.parts]


def _load_edits(path: Path) -> list[PlacedEdit]:
    """The edits in one file."""
    home = EDITS / path.name
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
    return [PlacedEdit(f"{path.stem}:{edit.name}", target, edit) for edit in edits]
