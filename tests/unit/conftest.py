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

"""A tiny upstream and a tiny fork of it."""

import shutil
from pathlib import Path

import pytest
from replacing import replace


ROOT = Path(__file__).resolve().parents[2]

EDITS = """\
from patches.edit import Edit
from patches.operations import AddParameter, PassArgument


TARGET = "megatron/bridge/package.py"

EDITS = (
    Edit("parameter", "save", "Because.", "Never.", AddParameter("release=False", "")),
    Edit("argument", "save", "Because.", "Never.", PassArgument("write", "release=release")),
)
"""

SERIES = '''\
[[change]]
key = "a"
title = "feat: save a release"
body = """
A body.
"""
adds = ["megatron/bridge/added.py"]
edits = ["package:parameter"]

[[change]]
key = "b"
title = "feat: write a release"
body = "Another."
edits = ["package:argument"]
tests = { "tests/test_added.py" = "tests/unit_tests/added/test_added.py" }
'''


def write(files: dict[str, str], root: Path) -> Path:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A fork with two changes."""
    return write(
        {
            "patches/series.toml": SERIES,
            "patches/edits/__init__.py": "",
            "patches/edits/package.py": EDITS,
            "src/megatron/bridge/added.py": "ADDED = True\n",
            "tests/test_added.py": "def test_added(): ...\n",
        },
        tmp_path / "project",
    )


@pytest.fixture
def scripted(project: Path) -> Path:
    """The fork, with the same edits to a script of upstream's repository, beside its package."""
    script = shutil.copy(project / "patches/edits/package.py", project / "patches/edits/script.py")
    replace(script, "megatron/bridge/package.py", "scripts/script.py")
    series = project / "patches/series.toml"
    replace(series, '"package:argument"', '"package:argument", "script:parameter", "script:argument"')
    return project


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    """The tree that it edits."""
    return write(
        {
            "megatron/bridge/package_info.py": 'MAJOR = 0\nMINOR = 6\nPATCH = 2\nPRE_RELEASE = ""\n',
            "megatron/bridge/package.py": "def save(path):\n    write(path)\n",
            "megatron/bridge/other.py": "OTHER = True\n",
        },
        tmp_path / "upstream",
    )


@pytest.fixture(scope="session")
def fork(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This repository's build files, with one edit and one added file."""
    root = tmp_path_factory.mktemp("fork")
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in"):
        shutil.copy(ROOT / name, root)
    (root / "patches").mkdir()
    for path in (ROOT / "patches").glob("*.py"):
        shutil.copy(path, root / "patches")
    edit = EDITS
    for old, new in (
        ("megatron/bridge/package.py", "megatron/bridge/utils/import_utils.py"),
        ('    Edit("argument", "save", "Because.", "Never.", PassArgument("write", "release=release")),\n', ""),
        ("AddParameter, PassArgument", "AddParameter"),
        ('"save"', '"safe_import"'),
    ):
        assert edit.count(old) == 1
        edit = edit.replace(old, new)
    return write(
        {
            "LICENSE": "License\n",
            "NOTICE": "Notice\n",
            "README.md": "# Fork\n",
            "patches/series.toml": SERIES.partition("\n\n")[0],
            "patches/edits/__init__.py": "",
            "patches/edits/package.py": edit,
            "src/megatron/bridge/added.py": "ADDED = True\n",
        },
        root,
    )
