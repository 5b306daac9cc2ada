# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Checks the output directory of an import: its path, and the checkpoints that it contains.

Importing this module imports neither torch nor Megatron Core.
"""

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from megatron.bridge.release.checkpoint_dir import (
    CheckpointDir,
    find_import,
    list_leftovers,
    nearest_existing,
    read_checkpoint_dir,
    trained_checkpoints,
)
from megatron.bridge.release.errors import CorruptFileError
from megatron.bridge.release.layout import (
    INTEGRITY_FILE,
    RELEASE,
    SOURCE_FILE,
    STAGING_PREFIX,
    TRAIN_STATE_TRACKER,
)
from megatron.bridge.release.manifest import files_of, read_manifest
from megatron.bridge.release.source.provenance import SourceModel, read_source, require_source
from megatron.bridge.release.source.provenance_errors import SourceChangedError, SourceMismatchError
from megatron.bridge.release.text import is_utf8
from megatron.bridge.release.validation.errors import (
    CheckpointExistsError,
    ForeignFilesError,
    OutputPathError,
    TrainedFromReleaseError,
)


# The longest path in a release.
_LONGEST = (".release-staging-xxxxxxxx", "tokenizer", "special_tokens_map.json.tmp")


def expand_output_dir(path: str | Path) -> str | Path:
    """Replace ``~`` in an output path, and refuse paths that no filesystem can have.

    Raises:
        OutputPathError: If the path is empty, too long, not UTF-8, or names an unknown user.
    """
    if not str(path) or "\0" in str(path):
        raise OutputPathError(path, "empty")
    if not is_utf8(str(path)):
        raise OutputPathError(ascii(str(path)), "not UTF-8")
    expanded = os.path.expanduser(path)
    if str(expanded).startswith("~"):
        raise OutputPathError(path, "unknown user", Path(expanded).parts[0])
    # Check each component: lstat() stops at the first missing directory.
    if any(map(_is_too_long, (os.path.join(expanded, *_LONGEST), *(f"/{name}" for name in Path(expanded).parts)))):
        raise OutputPathError(path, "too long")
    return path if str(expanded) == str(path) else type(path)(expanded)


def _is_too_long(path: str) -> bool:
    try:
        os.lstat(path)
    except OSError as error:
        return error.errno == errno.ENAMETOOLONG
    return False


def check_writable(checkpoint_dir: Path) -> None:
    """Check that a checkpoint directory, which need not exist, can be written.

    Raises:
        OutputPathError: If it, or the directory to create it in, is a file, a dangling symlink or cannot be written.
    """
    parts = [checkpoint_dir, *checkpoint_dir.parents]
    if dangling := [path for path in parts if path.is_symlink() and not path.exists()]:
        raise OutputPathError(checkpoint_dir, "dangling symlink", dangling[0])
    before = [path.parent for path in parts if path.name == ".."]
    if absent := [path for path in before if not path.is_dir()]:
        raise OutputPathError(checkpoint_dir, "not a directory", absent[-1])
    existing = nearest_existing(checkpoint_dir)
    if not existing.is_dir():
        raise OutputPathError(checkpoint_dir, "file", existing)
    if not os.access(existing, os.W_OK | os.X_OK):
        is_read_only = os.statvfs(existing).f_flag & os.ST_RDONLY
        raise OutputPathError(checkpoint_dir, "read-only" if is_read_only else "no permission", existing)


def check_output_dir(checkpoint_dir: Path, overwrite: bool) -> None:
    """Check, before the work, that a release can be written to a checkpoint directory, which need not exist.

    `check_overwrite` applies the same rule again under the lock.

    Raises:
        OutputPathError: As `check_writable`.
        CheckpointExistsError: As `check_overwrite`.
    """
    check_writable(checkpoint_dir)
    if not is_interrupted(checkpoint_dir):
        check_overwrite(checkpoint_dir, overwrite)


def is_interrupted(checkpoint_dir: Path) -> bool:
    """Return whether a first import into a directory was interrupted, or is running: it contains no checkpoint yet."""
    if not checkpoint_dir.is_dir() or not list_leftovers(checkpoint_dir, STAGING_PREFIX):
        return False
    return read_checkpoint_dir(checkpoint_dir).tracker is None


def check_overwrite(checkpoint_dir: Path, overwrite: bool) -> None:
    """Refuse a checkpoint directory with a checkpoint that must not be replaced.

    Raises:
        CheckpointExistsError: As `refuse_checkpoint`.
        ForeignFilesError: If the release to replace contains files that no import has written.
        ReleaseError: If it is an iteration directory, or if a tracker is not a regular file.
    """
    if checkpoint_dir.is_dir():
        found = read_checkpoint_dir(checkpoint_dir)
        folders = sorted(name for name in (*found.checkpoints, *found.empty) if "/" not in name)
        can_repair = find_import(found) is not None
        refuse_checkpoint(checkpoint_dir, folders, found.tracker, found.has_train_state, overwrite, can_repair)
        if foreign := _foreign_files(found):
            raise ForeignFilesError(checkpoint_dir / RELEASE, tuple(foreign))


def _foreign_files(found: CheckpointDir) -> list[str]:
    """Return the checkpoints in a release, and its files that the manifest does not list, if there is a manifest."""
    release = found.path / RELEASE
    nested = [name.removeprefix(f"{RELEASE}/") for name in found.checkpoints if name.startswith(f"{RELEASE}/")]
    try:
        listed = read_manifest(release)
    except (OSError, ValueError):
        return nested
    unlisted = [name for name in files_of(release) if name not in listed and name != INTEGRITY_FILE]
    return nested + [name for name in unlisted if not name.startswith(tuple(f"{path}/" for path in nested))]


def check_trained(checkpoint_dir: Path, model: SourceModel) -> None:
    """Check that a model may replace a release, whose source model is that of the trained checkpoints next to it.

    Raises:
        TrainedFromReleaseError: If there are trained checkpoints, and the release was imported from another model.
    """
    if not (checkpoint_dir / RELEASE / SOURCE_FILE).exists():
        return
    trained = trained_checkpoints(read_checkpoint_dir(checkpoint_dir))
    try:
        if trained:
            require_source(checkpoint_dir, model)
    except (SourceChangedError, SourceMismatchError) as error:
        raise TrainedFromReleaseError(checkpoint_dir, trained, _source_model(checkpoint_dir), model.name) from error


def refuse_checkpoint(
    checkpoint_dir: Path,
    folders: Sequence[str],
    tracker: str | None,
    has_train_state: bool,
    overwrite: bool,
    can_repair: bool = False,
) -> None:
    """Apply the overwrite rule: only a release is replaced, and only on request.

    Args:
        checkpoint_dir: The checkpoint directory.
        folders: Names of its release and iteration directories.
        tracker: Text of its tracker, if it exists.
        has_train_state: Whether it has ``latest_train_state.pt``.
        overwrite: Whether to replace a release.
        can_repair: Whether ``repair`` accepts it.

    Raises:
        CheckpointExistsError: If it contains a checkpoint and ``overwrite`` is False, or if its tracker does not name
            ``release``: it may contain a training.
    """
    tracked, found = None if tracker is None else tracker.strip(), list(folders)
    if tracked is not None:
        found.append(f"the tracker {tracked!r}")
    elif has_train_state:
        found.append(f"the tracker {TRAIN_STATE_TRACKER}")
    if found and not (overwrite and tracked == RELEASE):
        # A tracker alone is no checkpoint to lose.
        is_release = tracked == RELEASE and (not folders or RELEASE in folders)
        source = _source_model(checkpoint_dir)
        raise CheckpointExistsError(
            checkpoint_dir, tuple(found), source, is_release, can_repair and not is_release, overwrite
        )


def _source_model(checkpoint_dir: Path) -> str | None:
    try:
        source = read_source(checkpoint_dir / RELEASE)
    except CorruptFileError:
        return None
    return source.model if source is not None else None
