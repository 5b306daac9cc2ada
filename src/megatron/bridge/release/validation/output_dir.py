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

"""Where a converted model is saved to: the path that the user means, and whether a checkpoint can be written there.

Importing this module imports neither torch nor Megatron Core.
"""

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from megatron.bridge.release.checkpoint_dir import nearest_existing
from megatron.bridge.release.errors import CorruptFileError, OptionError, command_line
from megatron.bridge.release.layout import RELEASE, TRAIN_STATE_TRACKER, parse_tracker
from megatron.bridge.release.source.provenance import read_source


# As long as a path within a release may be.
_LONGEST = (".release-staging-xxxxxxxx", "tokenizer", "special_tokens_map.json.tmp")


def destination(path: str | Path, release: bool, overwrite: bool) -> str | Path:
    """Return where to save, and refuse what would be ignored.

    Args:
        path: Checkpoint root that the user gave.
        release: Whether a release is saved.
        overwrite: Whether the user wants a release that is there replaced.

    Returns:
        ``path``; for a release, with the home folder in place of ``~``.

    Raises:
        ValueError: If ``overwrite`` is given without ``release``, or if ``path`` is empty, is none that a filesystem can
            have, or names a user that is not known.
    """
    if not release:
        if overwrite:
            raise ValueError(
                "overwrite=True replaces a release, and without release=True none is saved. Add release=True, or leave "
                "overwrite=True out."
            )
        return path
    if not str(path) or "\0" in str(path):
        raise ValueError(f"The output path {str(path)!r} names no folder. Give a folder.")
    expanded = os.path.expanduser(path)
    if str(expanded).startswith("~"):
        user = Path(expanded).parts[0]
        raise ValueError(f"The output path {path} begins with {user}, and no such user is known. Or write ./{path}")
    # Each name by itself too: of a folder that is not there yet, the filesystem looks at no further name.
    if any(map(_is_too_long, (os.path.join(expanded, *_LONGEST), *(f"/{name}" for name in Path(expanded).parts)))):
        raise ValueError(
            f"The output path {str(path)[:40]}… is too long for the filesystem, with {len(str(path))} characters. "
            "Give a shorter one."
        )
    return path if str(expanded) == str(path) else type(path)(expanded)


def _is_too_long(path: str) -> bool:
    try:
        os.lstat(path)
    except OSError as error:
        return error.errno == errno.ENAMETOOLONG
    return False


def check_root(megatron_path: str | Path) -> None:
    """Check that a checkpoint root can be written.

    Args:
        megatron_path: Checkpoint root; it need not exist.

    Raises:
        ValueError: If it, or the folder it would be made in, is a file, a dangling link or cannot be written. One line.
    """
    root = Path(megatron_path)
    if dangling := [path for path in (root, *root.parents) if path.is_symlink() and not path.exists()]:
        way = "is" if dangling[0] == root else f"goes through {dangling[0]},"
        raise ValueError(f"The output path {root} {way} a dangling link. Remove it or make the folder it points to.")
    before = [Path(*root.parts[:at]) for at, name in enumerate(root.parts) if name == ".."]
    if absent := [folder for folder in before if not folder.is_dir()]:
        raise ValueError(
            f"The output path {root} goes through {absent[0]}, which is no folder. Leave out what '..' undoes."
        )
    existing = nearest_existing(root)
    if not existing.is_dir():
        raise ValueError(f"The output path {root} cannot be made: {existing} is a file. Give a folder.")
    if os.access(existing, os.W_OK | os.X_OK):
        return
    if os.statvfs(existing).f_flag & os.ST_RDONLY:
        raise ValueError(f"The output path {root} cannot be written: the filesystem of {existing} is read-only.")
    raise ValueError(f"The output path {root} cannot be written: no permission in {existing}.")


def refuse_checkpoint(
    root: Path, folders: Sequence[str], tracked: str | None, has_train_state: bool, overwrite: bool
) -> None:
    """Refuse a root with a checkpoint that must not be replaced.

    Args:
        root: Checkpoint root.
        folders: Names of its checkpoint folders.
        tracked: Text of its tracker; None where there is none.
        has_train_state: Whether it has Bridge's own tracker.
        overwrite: Whether the caller wants a release that is there replaced.

    Raises:
        ValueError: If it contains a checkpoint and ``overwrite`` is False, or if its tracker does not name ``release``: it
            may contain a training. An `OptionError` if ``overwrite`` matters.
    """
    there = list(folders)
    if tracked is not None:
        there.append(f"the tracker {tracked!r}")
    elif has_train_state:
        there.append(f"the tracker {TRAIN_STATE_TRACKER}")
    if not there or (overwrite and tracked == RELEASE):
        return
    found = f"{root} already contains a checkpoint{_source_model(root)}: {', '.join(there)}."
    if tracked == RELEASE and not overwrite:
        raise OptionError(found, "overwrite", "Use another output path, or pass {option} to replace the release.")
    advice = "Use another output path."
    if _is_import(folders, tracked):
        advice = f"Use another output path, or convert the checkpoint to a release: {command_line('repair', root)}"
    if overwrite:
        raise OptionError(f"{found} {advice}", "overwrite", "({option} replaces only a release.)")
    raise ValueError(f"{found} {advice}")


def _is_import(folders: Sequence[str], tracked: str | None) -> bool:
    """Return whether a repair may turn it into a release: no training has gone on from it."""
    try:
        iteration, _ = parse_tracker(tracked or "0", "")
    except ValueError:
        iteration = 0
    return bool(folders) and iteration == 0 and set(folders) <= {RELEASE, "iter_0000000"}


def _source_model(root: Path) -> str:
    """Return which model a root's release was imported from, if it is recorded."""
    try:
        source = read_source(root / RELEASE)
    except CorruptFileError:
        return ""
    return f" imported from {source.model}" if source is not None else ""
