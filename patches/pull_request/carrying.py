# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Tests of this repository in upstream's places."""

from pathlib import Path, PurePath, PurePosixPath
from typing import Any

import libcst as cst
from libcst import matchers as m
from libcst.helpers import get_full_name_for_node as full_name

from patches.series import ADDED, Change, Series, SeriesError


UNIT_TESTS = PurePosixPath("tests/unit_tests")
SUPPORT = Path("tests/support")


def carried_tests(series: Series, change: Change) -> dict[str, bytes]:
    """Return the tests that a change brings, by their paths in upstream's repository, with the packages they are in.

    What they import of this repository's support modules, by a bare name, they import from where the series carries it; what
    they import through a link that no change has brought yet, from the file itself.
    """
    so_far = series.changes[: series.changes.index(change) + 1]
    known = {path: to for each in so_far for path, to in each.tests.items()}
    added = {_name(PurePosixPath(path)) for each in so_far for path in each.adds}
    elsewhere = {name: file for name, file in _modules(series.root / ADDED).items() if name not in added}
    modules = {Path(path).stem: PurePosixPath(to) for path, to in known.items() if Path(path).parent == SUPPORT}
    files: dict[str, bytes] = {}
    for path, to in change.tests.items():
        content = (series.root / path).read_bytes()
        if path.endswith(".py"):
            content = _adapted(series, path, PurePosixPath(to), content, modules, elsewhere)
        files[to] = content
        for folder in PurePosixPath(to).parents:
            if UNIT_TESTS in folder.parents:
                files.setdefault((folder / "__init__.py").as_posix(), b"")
    return files


def _adapted(
    series: Series,
    path: str,
    to: PurePosixPath,
    content: bytes,
    modules: dict[str, PurePosixPath],
    elsewhere: dict[str, str],
) -> bytes:
    ours = {file.stem for file in (series.root / SUPPORT).glob("*.py")}
    module: Any = cst.parse_module(content).visit(_Imports(path, ours, modules, elsewhere))
    if UNIT_TESTS in to.parents and to.name.startswith("test_") and b"pytestmark" not in content:
        module = _marked(module)
    return bytes(module.bytes)


def _modules(sources: Path) -> dict[str, str]:
    """Return all modules, each with the one whose file it is: itself, or where a link leads."""
    files = {file: file.resolve().relative_to(sources.resolve()) for file in sources.rglob("*.py")}
    return {_name(file.relative_to(sources)): _name(real) for file, real in files.items()}


def _name(file: PurePath) -> str:
    return ".".join(file.with_suffix("").parts)


class _Imports(cst.CSTTransformer):
    def __init__(
        self, path: str, ours: set[str], modules: dict[str, PurePosixPath], elsewhere: dict[str, str]
    ) -> None:
        super().__init__()
        self._path, self._ours, self._modules, self._elsewhere = path, ours, modules, elsewhere

    def leave_ImportFrom(self, original_node: cst.ImportFrom, updated_node: cst.ImportFrom) -> Any:
        name = full_name(updated_node.module) or "" if updated_node.module else ""
        if file := self._elsewhere.get(name):
            if file in self._elsewhere:
                raise SeriesError(f"{self._path} imports {name}, which no change up to this one adds")
            return updated_node.with_changes(module=cst.parse_expression(file))
        if name not in self._ours or updated_node.relative:
            return updated_node
        place = self._place(name)
        return updated_node.with_changes(module=cst.parse_expression(".".join((*place.parent.parts, place.stem))))

    def leave_Import(self, original_node: cst.Import, updated_node: cst.Import) -> Any:
        names = [alias.evaluated_name for alias in updated_node.names]
        if not self._ours & set(names):
            return updated_node
        (name,) = names
        folder: Any = cst.parse_expression(".".join(self._place(name).parent.parts))
        return cst.ImportFrom(folder, [updated_node.names[0].with_changes(comma=cst.MaybeSentinel.DEFAULT)])

    def _place(self, name: str) -> PurePosixPath:
        if name not in self._modules:
            raise SeriesError(f"{self._path} imports {SUPPORT / name}.py, which no change up to this one carries")
        return self._modules[name]


def _marked(module: cst.Module) -> cst.Module:
    """Mark all tests of a module as unit tests, below its imports."""
    imports = m.SimpleStatementLine([m.Import() | m.ImportFrom()])
    last = max((at for at, node in enumerate(module.body) if m.matches(node, imports)), default=-1)
    lines: list[Any] = [*cst.parse_module("\n\npytestmark = pytest.mark.unit\n").body]
    if not m.findall(module, m.Import([m.AtLeastN(m.ImportAlias(m.Name("pytest")), n=1)])):
        lines = [*cst.parse_module("import pytest\n").body, *lines]
    return module.with_changes(body=[*module.body[: last + 1], *lines, *module.body[last + 1 :]])
