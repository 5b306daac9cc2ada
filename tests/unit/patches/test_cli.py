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

"""The commands `apply`, `status` and `pr`."""

import os
import subprocess
from pathlib import Path

import pytest

from patches.__main__ import main


EDITED = "def save(path, release=False):\n    write(path, release=release)\n"


def files(root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("*") if path.is_file()}


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "init.defaultBranch=main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(upstream: Path, tmp_path: Path, monkeypatch) -> Path:
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Tester")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "tester@example.com")
    folder = tmp_path / "checkout"
    folder.mkdir()
    upstream.rename(folder / "src")
    (folder / "README.md").write_text("Upstream\n")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "upstream")
    return folder


# apply


def test_apply_writes_the_patched_tree(project, upstream, tmp_path):
    before = files(upstream)
    to = tmp_path / "new" / "tree"
    assert main(["apply", "--upstream", str(upstream), "--to", str(to)], project) == 0
    assert files(to) == before | {"megatron/bridge/package.py": EDITED, "megatron/bridge/added.py": "ADDED = True\n"}
    assert files(upstream) == before
    assert os.listdir(to.parent) == ["tree"]


def test_apply_writes_into_an_empty_folder_alone(project, upstream, tmp_path, capsys):
    to = tmp_path / "tree"
    to.mkdir()
    assert main(["apply", "--upstream", str(upstream), "--to", str(to)], project) == 0
    assert main(["apply", "--upstream", str(upstream), "--to", str(to)], project) == 1
    assert capsys.readouterr().err == f"error: {to} exists and is not an empty folder\n"


def test_apply_twice_says_that_it_is_applied(project, upstream, tmp_path, capsys):
    once, twice = tmp_path / "once", tmp_path / "twice"
    main(["apply", "--upstream", str(upstream), "--to", str(once)], project)
    assert main(["apply", "--upstream", str(once), "--to", str(twice)], project) == 1
    assert capsys.readouterr().err == f"error: the series is already applied to {once}\n"
    assert not twice.exists()


def test_apply_writes_nothing_where_an_edit_does_not_match(project, upstream, tmp_path, capsys):
    (upstream / "megatron/bridge/package.py").write_text("def save(path):\n    pass\n")
    assert main(["apply", "--upstream", str(upstream), "--to", str(tmp_path / "tree")], project) == 1
    assert capsys.readouterr().err == (
        "error: megatron/bridge/package.py: edit 'argument' of save: expected one call of 'write', found none "
        "(upstream 0.6.2 given, 0.6.2 pinned). Look at megatron/bridge/package.py in the given upstream and mend "
        "patches/edits/package.py; `python -m patches status --upstream PATH` shows every edit.\n"
    )
    assert sorted(os.listdir(tmp_path)) == ["project", "upstream"]


def test_apply_names_what_upstream_has_of_an_edit(project, upstream, tmp_path, capsys):
    (upstream / "megatron/bridge/package.py").write_text("def save(path, release=False):\n    write(path)\n")
    assert main(["apply", "--upstream", str(upstream), "--to", str(tmp_path / "tree")], project) == 1
    assert "edit 'parameter' of save: expected no such change yet, found it" in capsys.readouterr().err


def test_apply_names_a_file_that_upstream_no_longer_has(project, upstream, tmp_path, capsys):
    (upstream / "megatron/bridge/package.py").unlink()
    assert main(["apply", "--upstream", str(upstream), "--to", str(tmp_path / "tree")], project) == 1
    assert "megatron/bridge/package.py: edit 'parameter' of save: expected this file, found none" in (
        capsys.readouterr().err
    )


def test_apply_refuses_an_added_file_that_upstream_has(project, upstream, tmp_path, capsys):
    (upstream / "megatron/bridge/added.py").touch()
    assert main(["apply", "--upstream", str(upstream), "--to", str(tmp_path / "tree")], project) == 1
    assert capsys.readouterr().err == "error: upstream 0.6.2 has the added file megatron/bridge/added.py already\n"


def test_a_missing_series_is_one_line(tmp_path, upstream, capsys):
    assert main(["status", "--upstream", str(upstream)], tmp_path) == 1
    assert capsys.readouterr().err.count("\n") == 1


# status


def test_status_shows_every_edit(project, upstream, capsys):
    assert main(["status", "--upstream", str(upstream)], project) == 0
    assert capsys.readouterr().out == (
        "change                 edit       file                        symbol  state\n"
        "feat: save a release   parameter  megatron/bridge/package.py  save    applies\n"
        "feat: write a release  argument   megatron/bridge/package.py  save    applies\n"
    )


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
def test_status_shows_what_does_not_apply(project, upstream, capsys, code, states):
    (upstream / "megatron/bridge/package.py").write_text(code)
    assert main(["status", "--upstream", str(upstream)], project) == 1
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [row.rpartition("  ")[2] for row in rows] == states


def refusal(project: Path, upstream: Path, code: str, capsys) -> str:
    (upstream / "megatron/bridge/package.py").write_text(code)
    assert main(["apply", "--upstream", str(upstream), "--to", str(project / "tree")], project) == 1
    assert not (project / "tree").exists()
    return capsys.readouterr().err


def test_each_refusal_names_the_edit_both_versions_and_what_to_do(project, upstream, capsys):
    several = "def save(path):\n    write(1)\n    write(2)\n"
    assert refusal(project, upstream, several, capsys) == (
        "error: megatron/bridge/package.py: edit 'argument' of save: expected one call of 'write', found 2 in lines 2, 3 "
        "(upstream 0.6.2 given, 0.6.2 pinned). Look at megatron/bridge/package.py in the given upstream and mend "
        "patches/edits/package.py; `python -m patches status --upstream PATH` shows every edit.\n"
    )
    there = "def save(path, release=False):\n    pass\n"
    assert refusal(project, upstream, there, capsys) == (
        "error: megatron/bridge/package.py: edit 'parameter' of save: expected no such change yet, found it "
        "(upstream 0.6.2 given, 0.6.2 pinned). Upstream has it: remove the edit from patches/series.toml and "
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
    assert "see whether the edit is still right; if so, change its digest in patches/edits/package.py" in changed


def test_what_is_not_python_is_a_refusal_too(project, upstream, capsys):
    assert "expected valid Python in the edit and in the file" in refusal(project, upstream, "def save(:\n", capsys)
    assert main(["status", "--upstream", str(upstream)], project) == 1
    assert capsys.readouterr().out.count("no valid Python") == 2


# pr


def test_pr_writes_one_patch_a_change(project, checkout, tmp_path, capsys):
    (checkout / "README.md").write_text("My own\n")
    assert main(["pr", "--upstream", str(checkout), "--to", str(tmp_path / "pr")], project) == 0
    names = ["0001-feat-save-a-release.patch", "0002-feat-write-a-release.patch"]
    assert capsys.readouterr().out.split() == [str(tmp_path / "pr" / name) for name in names]
    assert git(checkout, "branch", "--show-current") == "main"
    assert git(checkout, "status", "--short") == "M README.md"
    assert len(git(checkout, "worktree", "list").splitlines()) == 1
    log = git(checkout, "log", "--reverse", "--format=%B", "--name-status", "main..release-checkpoints")
    assert [line for line in log.splitlines() if line] == [
        "feat: save a release",
        "A body.",
        "Signed-off-by: Tester <tester@example.com>",
        "A\tsrc/megatron/bridge/added.py",
        "M\tsrc/megatron/bridge/package.py",
        "feat: write a release",
        "Another.",
        "Signed-off-by: Tester <tester@example.com>",
        "M\tsrc/megatron/bridge/package.py",
        "A\ttests/unit_tests/test_added.py",
    ]
    assert git(checkout, "show", "release-checkpoints:src/megatron/bridge/package.py") == EDITED.strip()
    assert git(checkout, "show", "release-checkpoints:README.md") == "Upstream"


def test_the_patches_apply_with_git_am(project, checkout, tmp_path):
    main(["pr", "--upstream", str(checkout), "--to", str(tmp_path / "pr")], project)
    git(checkout, "am", *map(str, sorted((tmp_path / "pr").iterdir())))
    assert (checkout / "src/megatron/bridge/package.py").read_text() == EDITED


def test_pr_refuses_a_branch_that_is_there(project, checkout, tmp_path, capsys):
    git(checkout, "branch", "release-checkpoints")
    assert main(["pr", "--upstream", str(checkout), "--to", str(tmp_path / "pr")], project) == 1
    assert capsys.readouterr().err == (
        f"error: {checkout} has a branch 'release-checkpoints' already: rename it or delete it\n"
    )


def test_pr_refuses_what_is_no_checkout(project, upstream, tmp_path, capsys):
    assert main(["pr", "--upstream", str(upstream), "--to", str(tmp_path / "pr")], project) == 1
    git(upstream, "init", "--quiet")
    assert main(["pr", "--upstream", str(upstream), "--to", str(tmp_path / "pr")], project) == 1
    assert capsys.readouterr().err == (
        f"error: {upstream} is no git checkout\n"
        f"error: {upstream} is no checkout of Megatron-Bridge: it has no src/megatron/bridge\n"
    )


def test_pr_leaves_nothing_where_an_edit_does_not_match(project, checkout, tmp_path, capsys):
    (checkout / "src/megatron/bridge/package.py").write_text("")
    git(checkout, "commit", "--quiet", "--all", "--message", "gone")
    assert main(["pr", "--upstream", str(checkout), "--to", str(tmp_path / "pr")], project) == 1
    assert "expected one function or class 'save', found none" in capsys.readouterr().err
    assert git(checkout, "branch", "--format=%(refname:short)") == "main"
    assert len(git(checkout, "worktree", "list").splitlines()) == 1
    assert not (tmp_path / "pr").exists()


def test_pr_says_in_a_line_what_git_says(project, checkout, tmp_path, capsys):
    hook = checkout / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho no such luck >&2\nexit 1\n")
    hook.chmod(0o755)
    assert main(["pr", "--upstream", str(checkout), "--to", str(tmp_path / "pr")], project) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: git commit in ") and error.endswith(": no such luck\n")
    assert git(checkout, "branch", "--format=%(refname:short)") == "main"
