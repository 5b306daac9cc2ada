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

"""The command `pr`, on small checkouts."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from replacing import replace

from patches.__main__ import main


EDITED = "def save(path, release=False):\n    write(path, release=release)\n"
BRANCH = "release-checkpoints"


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "init.defaultBranch=main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(upstream: Path, tmp_path: Path, monkeypatch) -> Path:
    # The user's own settings say nothing here.
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    folder = tmp_path / "checkout"
    folder.mkdir()
    upstream.rename(folder / "src")
    (folder / "README.md").write_text("Upstream\n")
    git(folder, "init", "--quiet")
    git(folder, "config", "user.name", "Tester")
    git(folder, "config", "user.email", "tester@example.com")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "upstream")
    return folder


def make(project: Path, checkout: Path, *more: str) -> int:
    return main(["pr", "--upstream", str(checkout), "--to", str(project / "pr"), *more], project)


def test_pr_writes_patch_for_each_change(project, checkout, tmp_path, capsys):
    assert main(["pr", "--upstream", str(checkout), "--to", str(tmp_path / "pr")], project) == 0
    names = ["0001-feat-save-a-release.patch", "0002-feat-write-a-release.patch", "0001-a.md", "0002-b.md"]
    assert capsys.readouterr().out.split() == [str(tmp_path / "pr" / name) for name in names]
    assert git(checkout, "branch", "--show-current") == "main"
    assert git(checkout, "status", "--short") == ""
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
        "A\ttests/unit_tests/added/__init__.py",
        "A\ttests/unit_tests/added/test_added.py",
    ]
    assert git(checkout, "show", "release-checkpoints:src/megatron/bridge/package.py") == EDITED.strip()
    assert (tmp_path / "pr/0001-a.md").read_text() == (
        "feat: save a release\n\n# What does this PR do ?\n\nA body.\n\n"
        "# Additional Information\n\n- Labels: feature, area:misc, needs-review\n"
    )
    assert "- Builds on: feat: save a release\n" in (tmp_path / "pr/0002-b.md").read_text()


def test_patches_apply_with_git_am(project, checkout, tmp_path):
    main(["pr", "--upstream", str(checkout), "--to", str(tmp_path / "pr")], project)
    git(checkout, "am", *map(str, sorted((tmp_path / "pr").glob("*.patch"))))
    assert (checkout / "src/megatron/bridge/package.py").read_text() == EDITED


def test_pr_refuses_an_existing_branch(project, checkout, tmp_path, capsys):
    git(checkout, "branch", "release-checkpoints")
    assert main(["pr", "--upstream", str(checkout), "--to", str(tmp_path / "pr")], project) == 1
    assert capsys.readouterr().err == (
        f"error: {checkout} already has the branch 'release-checkpoints'. Rename it or delete it\n"
    )


def test_pr_refuses_path_that_is_not_bridge_checkout(project, checkout, tmp_path, capsys):
    upstream = tmp_path / "unpacked"
    shutil.copytree(checkout / "src", upstream)
    assert main(["pr", "--upstream", str(upstream), "--to", str(tmp_path / "pr")], project) == 1
    assert capsys.readouterr().err == f"error: {upstream} is not a git checkout\n"
    git(checkout, "rm", "-rq", "src")
    git(checkout, "commit", "--quiet", "--message", "gone")
    assert main(["pr", "--upstream", str(checkout), "--to", str(tmp_path / "pr")], project) == 1
    assert capsys.readouterr().err.endswith(
        "is not a checkout of Megatron-Bridge, or of Megatron-LM with Megatron-Bridge\n"
    )


def test_pr_leaves_nothing_when_edit_does_not_match(project, checkout, tmp_path, capsys):
    (checkout / "src/megatron/bridge/package.py").write_text("")
    git(checkout, "commit", "--quiet", "--all", "--message", "gone")
    assert main(["pr", "--upstream", str(checkout), "--to", str(tmp_path / "pr")], project) == 1
    assert "expected one function or class 'save', found none" in capsys.readouterr().err
    assert git(checkout, "branch", "--format=%(refname:short)") == "main"
    assert len(git(checkout, "worktree", "list").splitlines()) == 1
    assert not (tmp_path / "pr").exists()


def test_pr_reports_git_error_and_leaves_no_branch(project, checkout, tmp_path, capsys):
    hook = checkout / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho no such luck >&2\nexit 1\n")
    hook.chmod(0o755)
    assert main(["pr", "--upstream", str(checkout), "--to", str(tmp_path / "pr")], project) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: git commit in ") and error.endswith(": no such luck\n")
    assert git(checkout, "branch", "--format=%(refname:short)") == "main"


def test_pr_writes_only_the_selected_change(project, checkout, capsys):
    assert make(project, checkout, "--only", "a") == 0
    assert git(checkout, "log", "--format=%s", f"main..{BRANCH}-a") == "feat: save a release"
    assert sorted(path.name for path in (project / "pr").iterdir()) == ["0001-a.md", "0001-feat-save-a-release.patch"]
    shutil.rmtree(project / "pr")
    assert make(project, checkout, "--only", "z") == 1
    assert capsys.readouterr().err == "error: no change has the key 'z': there are a, b\n"


def test_pr_refuses_uncommitted_changes(project, checkout, capsys):
    (checkout / "README.md").write_text("My own\n")
    (checkout / "new").touch()
    assert make(project, checkout) == 1
    assert capsys.readouterr().err == (
        f"error: {checkout} has uncommitted changes: README.md, new. Commit, stash or remove them\n"
    )
    assert (checkout / "README.md").read_text() == "My own\n" and not (project / "pr").exists()


@pytest.mark.parametrize("name", ["user.name", "user.email"])
def test_pr_requires_a_name_and_an_address_for_the_sign_off(project, checkout, capsys, name):
    git(checkout, "config", "--unset", name)
    assert make(project, checkout) == 1
    assert f"git has no {name} for the sign-off" in capsys.readouterr().err
    assert git(checkout, "branch", "--format=%(refname:short)") == "main"


def test_pr_omits_and_lists_edits_that_upstream_contains(project, checkout, capsys):
    (checkout / "src/megatron/bridge/package.py").write_text("def save(path, release=False):\n    write(path)\n")
    git(checkout, "commit", "--quiet", "--all", "--message", "it has it")
    assert make(project, checkout) == 0
    assert capsys.readouterr().err == (
        "left out: feat: save a release: patches/edits/package.py, parameter: upstream has it\n"
    )
    assert git(checkout, "show", f"{BRANCH}:src/megatron/bridge/package.py") == EDITED.strip()


def test_pr_omits_a_change_without_edits_left(project, checkout, capsys):
    edits = project / "patches/edits/package.py"
    replace(
        edits, 'PassArgument("write", "release=release")', 'PassArgument("write", "release=release"), versions="<0.6"'
    )
    assert make(project, checkout) == 0
    assert capsys.readouterr().err.splitlines() == [
        "left out: feat: write a release: patches/edits/package.py, argument: not for this upstream",
        "left out: feat: write a release: no edit is left",
    ]
    assert git(checkout, "log", "--format=%s", f"main..{BRANCH}") == "feat: save a release"
    assert not list((project / "pr").glob("*-b.md"))


def test_pr_refuses_two_forms_of_edit_for_same_version(project, checkout, capsys):
    edits = project / "patches/edits/package.py"
    line = '    Edit("argument", "save", "Because.", "Never.", PassArgument("write", "release=release")),\n'
    other = line.replace("release=release", "release=True")
    for first, second, status in (("<0.7", "<0.8", 1), (">=0.7", "<0.7", 0)):
        shutil.rmtree(project / "pr", ignore_errors=True)
        edits.write_text(
            edits.read_text().partition('    Edit("argument"')[0]
            + line.replace(")),", f'), versions="{first}"),')
            + other.replace(")),", f'), versions="{second}"),')
            + ")\n"
        )
        assert make(project, checkout) == status
    assert "2 forms of the edit 'package:argument' are for upstream 0.6.2" in capsys.readouterr().err
    assert git(checkout, "show", f"{BRANCH}:src/megatron/bridge/package.py").endswith("write(path, release=True)")


@pytest.mark.parametrize("at", [".", "src"])
def test_pr_supports_both_layouts(scripted, checkout, capsys, at):
    if at == ".":
        git(checkout, "mv", "src/megatron", "megatron")
    else:
        (checkout / "scripts").mkdir()
        (checkout / "scripts/script.py").write_text("def save(path):\n    write(path)\n")
        git(checkout, "add", "scripts")
    git(checkout, "commit", "--quiet", "--message", "another layout")
    assert make(scripted, checkout) == 0
    assert git(checkout, "show", f"{BRANCH}:./{at}/megatron/bridge/package.py") == EDITED.strip()
    assert git(checkout, "show", f"{BRANCH}:./{at}/megatron/bridge/added.py") == "ADDED = True"
    if at == ".":
        assert capsys.readouterr().err.count("script.py, ") == 2
    else:
        assert git(checkout, "show", f"{BRANCH}:scripts/script.py") == EDITED.strip()


def test_pr_refuses_a_checkout_without_an_edited_file(scripted, checkout, capsys):
    assert make(scripted, checkout) == 1
    assert "scripts/script.py: edit 'parameter' of save: expected this file, found none" in capsys.readouterr().err


def test_pr_marks_tests_and_adapts_their_imports(project, checkout, capsys):
    (project / "tests/support").mkdir()
    (project / "tests/support/models.py").write_text("TINY = 1\n")
    (project / "tests/test_added.py").write_text(
        "import models\nfrom models import TINY\n\n\ndef test_added():\n    assert models.TINY == TINY\n"
    )
    assert make(project, checkout) == 1
    assert (
        "tests/test_added.py imports tests/support/models.py, which neither its change nor an earlier one lists under tests"
        in (capsys.readouterr().err)
    )
    replace(
        project / "patches/series.toml",
        "tests = {",
        'tests = { "tests/support/models.py" = "tests/unit_tests/added/support/models.py",',
    )
    assert make(project, checkout) == 0
    assert git(checkout, "show", f"{BRANCH}:tests/unit_tests/added/test_added.py") == (
        "import pytest\n\n"
        "from tests.unit_tests.added.support import models\n"
        "from tests.unit_tests.added.support.models import TINY\n\n\n"
        "pytestmark = pytest.mark.unit\n\n\n"
        "def test_added():\n    assert models.TINY == TINY"
    )
    assert git(checkout, "show", f"{BRANCH}:tests/unit_tests/added/support/__init__.py") == ""


def test_pr_refuses_a_test_of_a_later_module(project, checkout, capsys):
    with (project / "patches/series.toml").open("a") as series:
        series.write(
            '\n[[change]]\nkey = "c"\ntitle = "feat: more"\nbody = "More."\nadds = ["megatron/bridge/later.py"]\n'
        )
    (project / "src/megatron/bridge/later.py").write_text("LATER = 1\n")
    (project / "tests/test_added.py").write_text("from megatron.bridge.later import LATER\n")
    assert make(project, checkout) == 1
    assert "tests/test_added.py imports megatron.bridge.later, which a later change adds" in (capsys.readouterr().err)


@pytest.mark.parametrize(
    "setting", ["format.noprefix=true", "diff.noprefix=true", "format.coverLetter=true", "core.commentChar=f"]
)
def test_pr_ignores_user_settings_of_git(project, checkout, capsys, setting):
    git(checkout, "config", *setting.split("="))
    assert make(project, checkout) == 0
    names = [Path(line).name for line in capsys.readouterr().out.splitlines()]
    assert [name for name in names if name.endswith(".md")] == ["0001-a.md", "0002-b.md"]
    patch = (project / "pr" / names[0]).read_text()
    assert "--- a/src/megatron/bridge/package.py\n" in patch and "Subject: [PATCH 1/2] feat: save a release\n" in patch


def test_pr_commits_files_that_the_user_ignores(project, checkout):
    (checkout / ".git/info/exclude").write_text("added.py\n")
    assert make(project, checkout) == 0
    assert git(checkout, "show", f"{BRANCH}:src/megatron/bridge/added.py") == "ADDED = True"


def test_pr_ignores_a_repository_in_the_environment(project, checkout, monkeypatch):
    head = git(checkout, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(checkout / ".git"))
    assert make(project, checkout) == 0
    monkeypatch.delenv("GIT_DIR")
    assert git(checkout, "rev-parse", "HEAD") == head and not git(checkout, "status", "--porcelain")
    assert len(list((project / "pr").glob("*.patch"))) == 2


def test_pr_leaves_no_branch_when_output_path_is_invalid(project, checkout, tmp_path, capsys):
    assert main(["pr", "--upstream", str(checkout), "--to", str(checkout / "pr")], project) == 1
    assert "which must not change. Name a folder outside of it" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main(["pr", "--upstream", str(checkout), "--to", str(tmp_path / "file/pr")], project) == 1
    assert not git(checkout, "branch", "--list", BRANCH)


def test_pr_names_the_changes_that_a_change_requires(project, checkout, capsys):
    replace(project / "patches/series.toml", '"package:argument"', '"package:parameter", "package:argument"')
    replace(project / "patches/series.toml", 'edits = ["package:parameter"]', "edits = []")
    replace(
        project / "patches/edits/package.py",
        '"save", "Because.", "Never.", Pass',
        '"kept", "Because.", "Never.", Pass',
    )
    assert main(["pr", "--upstream", str(checkout), "--to", str(checkout.parent / "one"), "--only", "b"], project) == 1
    assert "'b' requires a: apply them to the checkout first" in capsys.readouterr().err
