# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Turns the series into commits on an upstream checkout, and into patches and texts of pull requests."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from patches.files import require_empty, write_files
from patches.pull_request.carrying import carried_tests
from patches.pull_request.git import GitError, git, require_clean, require_identity, worktree
from patches.series import Change, Series, SeriesError
from patches.syntax import AlreadyApplied, EditError
from patches.tree import Patched, changed_files, patch
from patches.upstream import UpstreamError, is_packaged, open_upstream


BRANCH = "release-checkpoints"
_TYPE_LABELS = {"fix": "bug", "docs": "docs", "ci": "ci"}


@dataclass(frozen=True)
class Made:
    """The files written, and a line for each omitted edit."""

    left_out: list[str]
    files: list[Path]


def make_pull_request(series: Series, checkout: Path, to: Path, only: str = "") -> Made:
    """Commit each change, or one, to a new branch of a checkout, and write the commits as patches with their texts.

    The branch starts from the checkout's HEAD. The work tree and the current branch do not change.

    Raises:
        GitError: The checkout is not clean or has the branch already, or git failed.
    """
    require_empty(to)
    if to.resolve().is_relative_to(checkout.resolve()):
        raise GitError(f"{to} is inside the checkout {checkout}, which must not change. Name a folder outside of it")
    require_clean(checkout)
    require_identity(checkout)
    branch = f"{BRANCH}-{only}" if only else BRANCH
    if git(checkout, "branch", "--list", branch):
        raise GitError(f"{checkout} already has the branch '{branch}'. Rename it or delete it")
    base = git(checkout, "rev-parse", "HEAD")
    with tempfile.TemporaryDirectory() as work, worktree(checkout, Path(work, "tree"), base) as tree:
        commits, left_out = commit_changes(series, tree, only)
        head = git(tree, "rev-parse", "HEAD")
        plain = ("--no-cover-letter", "--no-attach", "--no-base", "--suffix=.patch", "--unified=3")
        range_ = f"{base}..{head}"
        lines = git(tree, "format-patch", *plain, "--output-directory", str(to.absolute()), range_).splitlines()
    # Create the branch last: it marks a complete pull request.
    git(checkout, "branch", branch, head)
    patches = [Path(line) for line in lines]
    texts = []
    for change, path in zip([change for change in series.changes if change.key in commits], patches):
        texts.append(path.with_name(f"{path.name[:4]}-{change.key}.md"))
        earlier = [each for each in series.changes[: series.changes.index(change)] if each.key in commits or only]
        texts[-1].write_text(pull_request_text(change, earlier))
    return Made(left_out, [*patches, *texts])


def commit_changes(series: Series, tree: Path, only: str = "") -> tuple[dict[str, str], list[str]]:
    """Commit each change, or one, in a work tree. Return the commits by key, and a line for each omitted edit."""
    changes = [change for change in series.changes if only in ("", change.key)]
    if not changes:
        raise SeriesError(
            f"no change has the key '{only}': there are {', '.join(each.key for each in series.changes)}"
        )
    try:
        upstream = open_upstream(tree, tree)
    except UpstreamError:
        raise GitError(
            f"{tree} is not a checkout of Megatron-Bridge, or of Megatron-LM with Megatron-Bridge"
        ) from None
    prefix = upstream.root.relative_to(tree)
    commits, left_out = {}, []
    try:
        all_patched = [*patch(series, upstream, changes, has_some=True)]
    except EditError as error:
        before = [each.key for each in series.changes[: series.changes.index(changes[0])]]
        if not only or not before:
            raise
        raise GitError(f"{error}. '{only}' requires {', '.join(before)}: apply them to the checkout first") from None
    for patched in all_patched:
        left_out += _left_out(patched)
        files = {
            (prefix / path if is_packaged(path) else Path(path)).as_posix(): content
            for path, content in changed_files([patched]).items()
        }
        if not files:
            left_out.append(f"{patched.change.title}: no edit is left")
            continue
        write_files(files | carried_tests(series, patched.change), tree)
        commits[patched.change.key] = _commit(tree, patched.change)
    return commits, left_out


def _left_out(patched: Patched) -> list[str]:
    reasons = {True: "upstream has it", False: "not for this upstream"}
    return [
        f"{patched.change.title}: {placed.home}, {placed.edit.name}: {reasons[isinstance(error, AlreadyApplied)]}"
        for placed, error in patched.attempts
        if error
    ]


def _commit(tree: Path, change: Change) -> str:
    # --force adds files that a user's gitignore excludes.
    git(tree, "add", "--all", "--force")
    git(
        tree,
        "commit",
        "--quiet",
        "--signoff",
        "--cleanup=whitespace",
        "--message",
        f"{change.title}\n\n{change.body.strip()}\n",
    )
    return git(tree, "rev-parse", "HEAD")


def pull_request_text(change: Change, earlier: Sequence[Change] = ()) -> str:
    """Return the text of a change's pull request, in Markdown.

    Its first line is the title, ``type(scope): description``, with one of upstream's types and scopes.

    Args:
        earlier: The changes that it builds on.
    """
    kind, _, scope = change.title.partition(":")[0].partition("(")
    labels = [_TYPE_LABELS.get(kind, "feature"), f"area:{scope.rstrip(')')}" if scope else "area:misc", "needs-review"]
    facts = {
        "Before": change.before,
        "After": change.after,
        "Tested": change.tested,
        "Not tested": change.untested,
        "Related to": ", ".join(change.closes),
        "Builds on": "; ".join(one.title for one in earlier),
        "Labels": ", ".join(labels),
    }
    lines = {name: f"- {name}: {' '.join(text.split())}" for name, text in facts.items() if text.strip()}
    sections = {
        "What does this PR do ?": [change.body.strip()],
        "Changelog": [lines[name] for name in ("Before", "After") if name in lines],
        "Pre checks": [lines[name] for name in ("Tested", "Not tested") if name in lines],
        "Additional Information": [lines[name] for name in ("Related to", "Builds on", "Labels") if name in lines],
    }
    texts = [f"# {title}\n\n" + "\n".join(text) + "\n" for title, text in sections.items() if text]
    return f"{change.title}\n\n" + "\n".join(texts)
