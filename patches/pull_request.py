# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The series as commits on an upstream checkout."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from patches.series import Series
from patches.tree import Patched, patch, refuse_full, write_files
from patches.upstream import PACKAGE, open_upstream


BRANCH = "release-checkpoints"
SOURCES = Path("src")


class GitError(Exception):
    """git refuses, or has nothing to work on."""


def make_pull_request(series: Series, checkout: Path, to: Path) -> list[Path]:
    """Commit each change to a new branch of a checkout, and write the commits as patches.

    The branch starts from the checkout's HEAD; its work tree and its current branch stay as they are. Raises GitError.
    """
    refuse_full(to)
    if not (checkout / ".git").exists():
        raise GitError(f"{checkout} is no git checkout")
    if not (checkout / SOURCES / PACKAGE).is_dir():
        raise GitError(f"{checkout} is no checkout of Megatron-Bridge: it has no {SOURCES / PACKAGE}")
    if _git(checkout, "branch", "--list", BRANCH):
        raise GitError(f"{checkout} has a branch '{BRANCH}' already: rename it or delete it")
    with tempfile.TemporaryDirectory() as work:
        tree = Path(work, "tree")
        _git(checkout, "worktree", "add", "--no-checkout", "--detach", str(tree), "HEAD")
        try:
            _git(tree, "read-tree", "HEAD")
            settings = [name for name in ("ruff.toml", "pyproject.toml") if _git(tree, "ls-files", name)]
            _git(tree, "checkout", "--", SOURCES.as_posix(), *settings)
            for patched in patch(series, open_upstream(tree, Path(work))):
                _commit(series, patched, tree)
            head = _git(tree, "rev-parse", "HEAD")
        finally:
            _git(checkout, "worktree", "remove", "--force", str(tree))
    _git(checkout, "branch", BRANCH, head)
    files = _git(checkout, "format-patch", "--output-directory", str(to.absolute()), f"HEAD..{BRANCH}")
    return [Path(line) for line in files.splitlines()]


def _commit(series: Series, patched: Patched, tree: Path) -> None:
    files = {(SOURCES / path).as_posix(): content for path, content in patched.files.items()}
    files |= {to: (series.root / path).read_bytes() for path, to in patched.change.copies.items()}
    write_files(files, tree)
    # Laid out as upstream's files are, by its own configuration.
    for words in (["check", "--select", "I", "--fix"], ["format"]):
        _run([Path(sys.executable).with_name("ruff"), *words, "-q", *(SOURCES / path for path in patched.files)], tree)
    _git(tree, "add", "--", *files)
    _git(tree, "commit", "--signoff", "--message", f"{patched.change.title}\n\n{patched.change.body.strip()}\n")


def _git(folder: Path, *arguments: str) -> str:
    return _run(["git", *arguments], folder)


def _run(command: Sequence[str | Path], folder: Path) -> str:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if result.returncode:
        lines = (result.stderr.strip() or result.stdout.strip() or "no message").splitlines()
        raise GitError(f"{' '.join(map(str, command[:2]))} in {folder}: {lines[-1]}")
    return result.stdout.strip()
