# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""What is done with git, and with other programs, in an upstream checkout."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


class GitError(Exception):
    """git refuses, or has nothing to work on."""


# A user's settings that would make other commits, files or patches of the same changes.
_SETTINGS = (
    "core.autocrlf=false",
    "core.commentChar=#",
    "core.quotePath=false",
    "diff.noprefix=false",
    "diff.mnemonicPrefix=false",
    "format.noprefix=false",
)


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder; return what it prints, or raise a GitError."""
    return run(["git", *(word for setting in _SETTINGS for word in ("-c", setting)), *arguments], folder)


def run(command: Sequence[str | Path], folder: Path) -> str:
    """Run a program in a folder; return what it prints, or raise a GitError that says what it printed."""
    # A hook's or an editor's GIT_DIR would be another repository than the folder's.
    named = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_PREFIX")
    variables = {name: value for name, value in os.environ.items() if name not in named}
    result = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
    if result.returncode:
        said = " / ".join((result.stderr.strip() or result.stdout.strip() or "no message").splitlines())
        words = [str(word) for word in command if word != "-c" and word not in _SETTINGS]
        raise GitError(f"{' '.join(words[:2])} in {folder}: {said}")
    return result.stdout.strip()


def require_clean(checkout: Path) -> None:
    """Refuse what is no checkout, or has changes that no commit has."""
    if not (checkout / ".git").exists():
        raise GitError(f"{checkout} is no git checkout")
    if changed := git(checkout, "status", "--porcelain").splitlines():
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        names = ", ".join(line[2:].strip() for line in changed[:3])
        raise GitError(f"{checkout} has changes that no commit has: {names}{more}. Commit, stash or remove them")


def require_identity(checkout: Path) -> None:
    """Refuse to sign off commits for nobody: git would make a name of the host's."""
    for name in ("user.name", "user.email"):
        try:
            git(checkout, "config", name)
        except GitError:
            raise GitError(f"git knows no {name} to sign off with: git config --global {name} ...") from None


@contextmanager
def worktree(checkout: Path, at: Path, commit: str = "HEAD") -> Iterator[Path]:
    """Check a commit out beside a checkout, meanwhile."""
    try:
        git(checkout, "worktree", "add", "--quiet", "--detach", str(at), commit)
        yield at
    finally:
        if at.exists():
            git(checkout, "worktree", "remove", "--force", str(at))
