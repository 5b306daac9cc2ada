# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Runs git in an upstream checkout."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


class GitError(Exception):
    """A git command failed, or the folder is not a suitable checkout."""


# Override user settings that change commits, files or patches.
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
    """Raise GitError for a folder that is not a checkout, or has uncommitted changes."""
    if not (checkout / ".git").exists():
        raise GitError(f"{checkout} is not a git checkout")
    if changed := git(checkout, "status", "--porcelain").splitlines():
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        names = ", ".join(line[2:].strip() for line in changed[:3])
        raise GitError(f"{checkout} has uncommitted changes: {names}{more}. Commit, stash or remove them")


def require_identity(checkout: Path) -> None:
    """Raise GitError if git has no name or address for the sign-off. By default, git uses the host's."""
    for name in ("user.name", "user.email"):
        try:
            git(checkout, "config", name)
        except GitError:
            raise GitError(f"git has no {name} for the sign-off. Run: git config --global {name} VALUE") from None


@contextmanager
def worktree(checkout: Path, at: Path, commit: str = "HEAD") -> Iterator[Path]:
    """Check out a commit in a temporary worktree of a checkout."""
    try:
        git(checkout, "worktree", "add", "--quiet", "--detach", str(at), commit)
        yield at
    finally:
        if at.exists():
            git(checkout, "worktree", "remove", "--force", str(at))
