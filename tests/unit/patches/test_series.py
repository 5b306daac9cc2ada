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

"""The series and the files that it names."""

import ast
import difflib
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from replacing import replace

from patches.files import format_files, write_files
from patches.series import ADDED, SeriesError, load_series
from patches.tree import changed_files, patch
from patches.upstream import is_packaged, open_upstream


ROOT = Path(__file__).resolve().parents[3]


class Built(NamedTuple):
    """The files of upstream's package that edits change: as upstream has them, edited, and formatted."""

    upstream: dict[str, bytes]
    edited: dict[str, bytes]
    formatted: dict[str, bytes]


def refused(project: Path) -> str:
    with pytest.raises(SeriesError) as caught:
        load_series(project)
    return str(caught.value)


def test_series_contains_changes_in_order(project):
    first, second = load_series(project).changes
    assert (first.title, first.body, first.adds) == (
        "feat: save a release",
        "A body.\n",
        ["megatron/bridge/added.py"],
    )
    assert [*first.edits, *second.edits] == ["package:parameter", "package:argument"]
    (placed,) = load_series(project).edits["package:parameter"]
    assert (placed.target, placed.home) == ("megatron/bridge/package.py", "patches/edits/package.py")
    assert (second.adds, second.tests) == ([], {"tests/test_added.py": "tests/unit_tests/added/test_added.py"})


def test_series_refuses_edit_without_change(project):
    replace(project / "patches/series.toml", '"package:argument"', "")
    assert refused(project) == (
        "the edit 'package:argument' is in patches/edits/ but in no change of patches/series.toml"
    )


def test_series_refuses_missing_edit(project):
    replace(project / "patches/series.toml", '"package:argument"', '"package:argument", "package:lost"')
    assert refused(project) == ("patches/series.toml lists the edit 'package:lost', which is not in patches/edits/")


def test_series_refuses_edit_listed_twice(project):
    replace(project / "patches/series.toml", '"package:argument"', '"package:argument", "package:parameter"')
    assert refused(project) == "the edit 'package:parameter' is listed 2 times in patches/series.toml"


def test_series_refuses_added_file_without_change(project):
    (project / "src/megatron/bridge/stray.txt").touch()
    assert refused(project) == (
        "the added file 'megatron/bridge/stray.txt' is in src/ but in no change of patches/series.toml"
    )


def test_series_refuses_missing_added_file(project):
    (project / "src/megatron/bridge/added.py").unlink()
    assert refused(project) == (
        "patches/series.toml lists the added file 'megatron/bridge/added.py', which is not in src/"
    )


def test_compiled_files_are_not_added(project):
    (project / "src/megatron/__pycache__").mkdir()
    (project / "src/megatron/__pycache__/x.pyc").touch()
    assert [path for change in load_series(project).changes for path in change.adds] == ["megatron/bridge/added.py"]


def test_series_refuses_missing_test(project):
    (project / "tests/test_added.py").unlink()
    assert refused(project) == "patches/series.toml lists the test 'tests/test_added.py', which does not exist"


@pytest.mark.parametrize("key", ["why", "drop_when"])
def test_edit_requires_why_and_drop_when(project, key):
    old = {"why": '"Because."', "drop_when": '"Never."'}[key]
    replace(project / "patches/edits/package.py", old, '" "')
    assert refused(project) == (
        "patches/edits/package.py: the edit 'parameter' needs a text in both why and drop_when"
    )


def test_edit_names_are_unique(project):
    replace(project / "patches/edits/package.py", '"argument"', '"parameter"')
    assert refused(project) == "patches/edits/package.py: 2 edits have the name 'parameter'"


def test_series_refuses_edit_file_without_target(project):
    replace(project / "patches/edits/package.py", "TARGET", "WHERE")
    assert refused(project).startswith("patches/edits/package.py: AttributeError: module ")


@pytest.mark.parametrize(
    ("old", "title", "key"),
    [('title = "feat: write a release"', "", "title"), ('body = "Another."', "feat: write a release", "body")],
)
def test_change_requires_title_and_body(project, old, title, key):
    replace(project / "patches/series.toml", old, f'{key} = " "')
    assert refused(project) == f"patches/series.toml: the change '{title or ' '}' has no {key}"


def test_change_refuses_unknown_key(project):
    replace(project / "patches/series.toml", "adds = ", "add = ")
    assert refused(project) == "patches/series.toml: the change 'feat: save a release' has an unknown key 'add'"


def test_series_refuses_invalid_toml(project):
    replace(project / "patches/series.toml", "[[change]]", "[[change")
    assert refused(project).startswith("patches/series.toml: ")


def _imported(code: str) -> set[str]:
    """Return the modules that a module imports, and the names that may be modules."""
    nodes = list(ast.walk(ast.parse(code)))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in (node for node in nodes if isinstance(node, ast.ImportFrom)):
        names |= {f"{node.module}", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_added_modules_import_no_module_of_later_changes():
    later: set[str] = set()
    for change in reversed(load_series(ROOT).changes):
        modules = [path for path in change.adds if path.endswith(".py")]
        found = {(path, name) for path in modules for name in _imported((ROOT / ADDED / path).read_text()) & later}
        assert not found, f"move these to the change '{change.key}' or before it"
        later |= {path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in modules}


@pytest.fixture(scope="module")
def built(upstream_wheel, tmp_path_factory) -> Built:
    """This repository's series, applied to the pinned upstream."""
    upstream = open_upstream(upstream_wheel, tmp_path_factory.mktemp("upstream"), pinned=True)
    patched = patch(load_series(ROOT), upstream)
    edited = {path: code for each in patched for path, code in each.edited.items()}
    files = changed_files(patched)
    return Built(
        {path: (upstream.root / path).read_bytes() for path in edited},
        {path: code.bytes for path, code in edited.items()},
        {path: files[path] for path in edited},
    )


def test_every_package_edit_applies(built):
    targets = {placed.target for forms in load_series(ROOT).edits.values() for placed in forms}
    assert built.formatted.keys() == {path for path in targets if is_packaged(path)}


def test_formatting_does_not_change_upstream_files(built):
    assert format_files(built.upstream) == built.upstream


def test_edited_files_are_formatted(built):
    assert format_files(built.formatted) == built.formatted


def test_edited_files_have_no_undefined_names(built, tmp_path):
    write_files(built.formatted, tmp_path)
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--select", "F401,F821", "."]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert not result.returncode, result.stdout + result.stderr


def _replaced(old: bytes, new: bytes) -> set[bytes]:
    """Return the lines of a file that another one does not have in their place."""
    lines = old.splitlines()
    changes = difflib.SequenceMatcher(None, lines, new.splitlines(), autojunk=False).get_opcodes()
    return {line for tag, begin, end, _, _ in changes if tag != "equal" for line in lines[begin:end]}


def test_formatting_changes_only_edited_lines_and_imports(built):
    for path, upstream in built.upstream.items():
        formatted = _replaced(upstream, built.formatted[path]) - _replaced(upstream, built.edited[path])
        assert [line for line in formatted if not line.startswith((b"from ", b"import "))] == []
