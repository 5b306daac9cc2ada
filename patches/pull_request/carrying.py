# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Copies tests of this repository to their paths in upstream's."""

from pathlib import Path, PurePosixPath
from typing import Any

import libcst as cst
from libcst import matchers as m
from libcst.helpers import get_full_name_for_node as full_name

from patches.files import format_files
from patches.series import Change, Series, SeriesError


UNIT_TESTS = PurePosixPath("tests/unit_tests")
SUPPORT = Path("tests/support")


def carried_tests(series: Series, change: Change) -> dict[str, bytes]:
    """Return the tests of a change by their paths in upstream's repository, with the `__init__.py` of new packages.

    Imports of this repository's support modules are changed to the modules' paths in upstream's repository.
    """
    so_far = series.changes[: series.changes.index(change) + 1]
    later = {_name(path) for each in series.changes if each not in so_far for path in each.adds}
    destinations = {Path(path): PurePosixPath(to) for each in so_far for path, to in each.tests.items()}
    support = {path.stem: destinations.get(SUPPORT / path.name) for path in (series.root / SUPPORT).glob("*.py")}
    files: dict[str, bytes] = {}
    for path, to in change.tests.items():
        content = (series.root / path).read_bytes()
        if path.endswith(".py"):
            module: Any = cst.parse_module(content).visit(_Imports(path, support, later))
            is_unmarked = Path(to).name.startswith("test_") and b"pytestmark" not in content
            content = (_marked(module) if UNIT_TESTS in PurePosixPath(to).parents and is_unmarked else module).bytes
        files[to] = content
        for folder in PurePosixPath(to).parents:
            if UNIT_TESTS in folder.parents:
                files.setdefault((folder / "__init__.py").as_posix(), b"")
    return format_files(files)


def _name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


class _Imports(cst.CSTTransformer):
    """Changes the imports of support modules. Refuses imports of modules that a later change adds."""

    def __init__(self, path: str, support: dict[str, PurePosixPath | None], later: set[str]) -> None:
        super().__init__()
        self._path, self._support, self._later = path, support, later

    def leave_ImportFrom(self, original_node: cst.ImportFrom, updated_node: cst.ImportFrom) -> Any:
        name = full_name(updated_node.module) or "" if updated_node.module else ""
        if name in self._later:
            raise SeriesError(f"{self._path} imports {name}, which a later change adds")
        if name not in self._support or updated_node.relative:
            return updated_node
        place = self._place(name)
        return updated_node.with_changes(module=cst.parse_expression(".".join((*place.parent.parts, place.stem))))

    def leave_Import(self, original_node: cst.Import, updated_node: cst.Import) -> Any:
        names = [alias.evaluated_name for alias in updated_node.names]
        if not self._support.keys() & set(names):
            return updated_node
        (name,) = names
        folder: Any = cst.parse_expression(".".join(self._place(name).parent.parts))
        return cst.ImportFrom(folder, [updated_node.names[0].with_changes(comma=cst.MaybeSentinel.DEFAULT)])

    def _place(self, name: str) -> PurePosixPath:
        place = self._support[name]
        if place is None:
            raise SeriesError(
                f"{self._path} imports {SUPPORT / name}.py, which neither its change nor an earlier one lists under tests"
            )
        return place


def _marked(module: cst.Module) -> cst.Module:
    """Mark all tests of a module as unit tests, with a statement below its imports."""
    imports = m.SimpleStatementLine([m.Import() | m.ImportFrom()])
    last = max((at for at, node in enumerate(module.body) if m.matches(node, imports)), default=-1)
    lines: list[Any] = [*cst.parse_module("\n\npytestmark = pytest.mark.unit\n").body]
    if not m.findall(module, m.Import([m.AtLeastN(m.ImportAlias(m.Name("pytest")), n=1)])):
        lines = [*cst.parse_module("import pytest\n").body, *lines]
    return module.with_changes(body=[*module.body[: last + 1], *lines, *module.body[last + 1 :]])
