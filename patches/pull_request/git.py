# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""What is done with git, and with other programs, in an upstream checkout."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


class GitError(Exception):
    """git refuses, or has nothing to work on."""


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder; return what it prints, or raise a GitError."""
    return run(["git", *arguments], folder)


def run(command: Sequence[str | Path], folder: Path) -> str:
    """Run a program in a folder; return what it prints, or raise a GitError with the last line that it prints."""
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if result.returncode:
        lines = (result.stderr.strip() or result.stdout.strip() or "no message").splitlines()
        raise GitError(f"{' '.join(map(str, command[:2]))} in {folder}: {lines[-1]}")
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
    git(checkout, "worktree", "add", "--quiet", "--detach", str(at), commit)
    try:
        yield at
    finally:
        git(checkout, "worktree", "remove", "--force", str(at))
