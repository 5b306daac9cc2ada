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

"""The series as commits on an upstream checkout."""

import subprocess
import tempfile
from pathlib import Path

from patches.series import Change, Series
from patches.tree import Patched, patch, refuse_full, write_files
from patches.upstream import PACKAGE, open_upstream


BRANCH = "release-checkpoints"
SOURCES = Path("src")


class GitError(Exception):
    """git refuses, or has nothing to work on."""


def make_pull_request(series: Series, checkout: Path, to: Path) -> list[Path]:
    """Commit each change to a new branch of a checkout, and write the commits as patches.

    The checkout's work tree and its current branch stay as they are.

    Args:
        series: The series.
        checkout: A git checkout of upstream, whose HEAD the branch starts from.
        to: The folder for the patches, which does not exist or is empty.

    Returns:
        The patches' files.

    Raises:
        GitError: If it is no git checkout of Megatron-Bridge, has the branch already, or git fails.
        EditError: If an edit does not apply.
        SeriesError: If the series is there already.
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
            _git(tree, "checkout", "--", SOURCES.as_posix())
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
    _git(tree, "add", "--", *files)
    _git(tree, "commit", "--signoff", "--message", _message(patched.change))


def _message(change: Change) -> str:
    return f"{change.title}\n\n{change.body}\n"


def _git(folder: Path, *arguments: str) -> str:
    result = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True)
    if result.returncode:
        lines = (result.stderr.strip() or result.stdout.strip() or "no message").splitlines()
        raise GitError(f"git {arguments[0]} in {folder}: {lines[-1]}")
    return result.stdout.strip()
