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

"""The commands `apply` and `status`."""

import os
import shutil
from pathlib import Path

import pytest
from replacing import replace

from patches.__main__ import main


EDITED = "def save(path, release=False):\n    write(path, release=release)\n"


def files(root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("*") if path.is_file()}


# apply


def test_apply_writes_the_patched_tree(project, upstream, tmp_path):
    before = files(upstream)
    to = tmp_path / "new" / "tree"
    assert main(["apply", "--upstream", str(upstream), "--to", str(to)], project) == 0
    assert files(to) == before | {"megatron/bridge/package.py": EDITED, "megatron/bridge/added.py": "ADDED = True\n"}
    assert files(upstream) == before
    assert os.listdir(to.parent) == ["tree"]


def test_apply_refuses_directory_that_is_not_empty(project, upstream, tmp_path, capsys):
    to = tmp_path / "tree"
    to.mkdir()
    assert main(["apply", "--upstream", str(upstream), "--to", str(to)], project) == 0
    assert main(["apply", "--upstream", str(upstream), "--to", str(to)], project) == 1
    assert (
        capsys.readouterr().err
        == f"error: {to} exists and is not an empty folder. Remove it, or name another folder\n"
    )


def test_apply_refuses_a_patched_tree(project, upstream, tmp_path, capsys):
    once, twice = tmp_path / "once", tmp_path / "twice"
    main(["apply", "--upstream", str(upstream), "--to", str(once)], project)
    assert main(["apply", "--upstream", str(once), "--to", str(twice)], project) == 1
    assert capsys.readouterr().err == f"error: the series is already applied to {once}\n"
    assert not twice.exists()


def test_apply_writes_nothing_when_edit_does_not_match(project, upstream, tmp_path, capsys):
    (upstream / "megatron/bridge/package.py").write_text("def save(path):\n    pass\n")
    assert main(["apply", "--upstream", str(upstream), "--to", str(tmp_path / "tree")], project) == 1
    assert capsys.readouterr().err == (
        "error: megatron/bridge/package.py: edit 'argument' of save: expected one call of 'write', found none "
        "(upstream 0.6.2, pinned 0.6.2). Read megatron/bridge/package.py in this upstream. Correct "
        "patches/edits/package.py. To list all edits, run: python -m patches status --upstream PATH\n"
    )
    assert sorted(os.listdir(tmp_path)) == ["project", "upstream"]


def test_apply_refuses_an_edit_that_upstream_contains(project, upstream, tmp_path, capsys):
    (upstream / "megatron/bridge/package.py").write_text("def save(path, release=False):\n    write(path)\n")
    assert main(["apply", "--upstream", str(upstream), "--to", str(tmp_path / "tree")], project) == 1
    assert "edit 'parameter' of save: expected no such change yet, found it" in capsys.readouterr().err


def test_apply_names_a_missing_file_of_upstream(project, upstream, tmp_path, capsys):
    (upstream / "megatron/bridge/package.py").unlink()
    assert main(["apply", "--upstream", str(upstream), "--to", str(tmp_path / "tree")], project) == 1
    assert "megatron/bridge/package.py: edit 'parameter' of save: expected this file, found none" in (
        capsys.readouterr().err
    )


def test_apply_refuses_an_added_file_that_upstream_contains(project, upstream, tmp_path, capsys):
    (upstream / "megatron/bridge/added.py").touch()
    assert main(["apply", "--upstream", str(upstream), "--to", str(tmp_path / "tree")], project) == 1
    assert (
        capsys.readouterr().err == "error: upstream 0.6.2 already contains the added file megatron/bridge/added.py\n"
    )


def test_status_prints_single_line_when_series_is_missing(tmp_path, upstream, capsys):
    assert main(["status", "--upstream", str(upstream)], tmp_path) == 1
    assert capsys.readouterr().err.count("\n") == 1


# status


def test_status_shows_every_edit(project, upstream, capsys):
    assert main(["status", "--upstream", str(upstream)], project) == 0
    assert capsys.readouterr().out == (
        "   edit       file                        symbol  0.6.2\n"
        "a  parameter  megatron/bridge/package.py  save    applies\n"
        "b  argument   megatron/bridge/package.py  save    applies\n"
    )


def test_status_has_a_column_for_each_upstream(project, upstream, tmp_path, capsys):
    newer = Path(shutil.copytree(upstream, tmp_path / "newer"))
    replace(newer / "megatron/bridge/package_info.py", "MINOR = 6", "MINOR = 7")
    replace(
        project / "patches/edits/package.py",
        'AddParameter("release=False", "")',
        'AddParameter("release=False", ""), versions="<0.7"',
    )
    assert main(["status", "--upstream", str(upstream), "--upstream", str(newer)], project) == 0
    assert capsys.readouterr().out == (
        "   edit       file                        symbol  0.6.2    0.7.2\n"
        "a  parameter  megatron/bridge/package.py  save    applies  not for it\n"
        "b  argument   megatron/bridge/package.py  save    applies  applies\n"
    )


def test_apply_skips_files_outside_the_package(scripted, upstream, capsys):
    assert main(["status", "--upstream", str(upstream)], scripted) == 0
    assert capsys.readouterr().out.count("no such files here") == 2
    assert main(["apply", "--upstream", str(upstream), "--to", str(scripted / "tree")], scripted) == 0
    assert [path.name for path in (scripted / "tree").iterdir()] == ["megatron"]


@pytest.mark.parametrize(
    ("code", "states"),
    [
        ("def save(path, release=False):\n    write(path)\n", ["upstream has it", "applies"]),
        ("def save(path):\n    pass\n", ["applies", "no match"]),
        ("def save(path):\n    write(1)\n    write(2)\n", ["applies", "2 matches"]),
        (EDITED, ["upstream has it", "upstream has it"]),
        ("", ["no match", "no match"]),
    ],
)
def test_status_shows_edits_that_do_not_apply(project, upstream, capsys, code, states):
    (upstream / "megatron/bridge/package.py").write_text(code)
    assert main(["status", "--upstream", str(upstream)], project) == 1
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [row.rpartition("  ")[2] for row in rows] == states


def test_status_fails_when_excluded_name_exists(project, upstream, capsys):
    """Such as the builders of later versions, beside the providers."""
    edits = project / "patches/edits/package.py"
    replace(
        edits,
        'PassArgument("write", "release=release")',
        'PassArgument("write", "release=release"), without="BUILDER"',
    )
    assert main(["status", "--upstream", str(upstream)], project) == 0
    code = "def save(path):\n    write(path)\n\n\nclass Bridge:\n    BUILDER = False\n"
    (upstream / "megatron/bridge/package.py").write_text(code)
    capsys.readouterr()
    assert main(["status", "--upstream", str(upstream)], project) == 1
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [row.rpartition("  ")[2] for row in rows] == ["applies", "another path"]
    assert "edit 'argument' of save: expected no BUILDER, found it (upstream" in refusal(
        project, upstream, code, capsys
    )


def refusal(project: Path, upstream: Path, code: str, capsys) -> str:
    (upstream / "megatron/bridge/package.py").write_text(code)
    assert main(["apply", "--upstream", str(upstream), "--to", str(project / "tree")], project) == 1
    assert not (project / "tree").exists()
    return capsys.readouterr().err


def test_errors_name_the_edit_both_versions_and_the_next_step(project, upstream, capsys):
    several = "def save(path):\n    write(1)\n    write(2)\n"
    assert refusal(project, upstream, several, capsys) == (
        "error: megatron/bridge/package.py: edit 'argument' of save: expected one call of 'write', found 2 in lines 2, 3 "
        "(upstream 0.6.2, pinned 0.6.2). Read megatron/bridge/package.py in this upstream. Correct "
        "patches/edits/package.py. To list all edits, run: python -m patches status --upstream PATH\n"
    )
    there = "def save(path, release=False):\n    pass\n"
    assert refusal(project, upstream, there, capsys) == (
        "error: megatron/bridge/package.py: edit 'parameter' of save: expected no such change yet, found it "
        "(upstream 0.6.2, pinned 0.6.2). Upstream already contains the change: remove the edit from patches/series.toml and "
        "patches/edits/package.py.\n"
    )
    edits = project / "patches/edits/package.py"
    edits.write_text(
        edits.read_text()
        .replace('AddParameter("release=False", "")', "ReplaceBody('pass', '0123456789ab')")
        .replace("import AddParameter, PassArgument", "import PassArgument, ReplaceBody")
    )
    changed = refusal(project, upstream, "def save(path):\n    write(path)\n", capsys)
    assert changed.startswith(
        "error: megatron/bridge/package.py: edit 'parameter' of save: expected the body of 0123456789ab, found that of "
    )
    assert "If the edit is still right, replace its digest in patches/edits/package.py. " in changed


def test_invalid_python_is_refused(project, upstream, capsys):
    assert "expected valid Python in the edit and in the file" in refusal(project, upstream, "def save(:\n", capsys)
    assert main(["status", "--upstream", str(upstream)], project) == 1
    assert capsys.readouterr().out.count("no valid Python") == 2
