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


"""Turns imports that upstream or a hook has left into releases, and back, without rewriting a tensor.

The files of a checkpoint folder get a second name in a staging folder (hard links), missing files are written beside
them, and the staging folder is published as an import's is. Only then are the first names removed. So whatever stops
it, a reader finds either what it found before or the release, and the next run completes the work.
"""

import io
import pickle
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

from megatron.bridge.release.checkpoint_dir import CheckpointDir, CheckpointDirBusyError, read_checkpoint_dir
from megatron.bridge.release.layout import (
    ADDED_FILES,
    COMMON_STATE,
    FLAGS_FILE,
    RELEASE,
    SOURCE_FILE,
    SUMS_FILE,
    TRACKER,
    TRAIN_STATE,
    TRAIN_STATE_TRACKER,
)
from megatron.bridge.release.manifest import files_of
from megatron.bridge.release.source.provenance import write_source
from megatron.bridge.release.repair.args_from_run_config import derive_args, tokenizer_of
from megatron.bridge.release.repair.plan import UPSTREAM_FOLDER, Plan, plan_repair, plan_revert
from megatron.bridge.release.verify.dcp_metadata import read_metadata


def repair(path: Path, *, dry_run: bool = False) -> list[str]:
    """Turn an import that upstream or a hook has left into a release.

    Args:
        path: Checkpoint root.
        dry_run: Whether to return the steps and change nothing.

    Returns:
        The steps taken, in words; empty if the root holds a release as an import writes it.

    Raises:
        ValueError: If the root contains no checkpoint, a damaged one, more than one, or one of a training run.
        RuntimeError: If another process is writing into the root.
        OSError: If the filesystem refuses.
    """
    return _convert(path, _Layout(RELEASE, "release", plan_repair, _complete), dry_run)


def revert(path: Path, *, dry_run: bool = False) -> list[str]:
    """Give a release upstream's layout back: ``iter_0000000`` and the tracker ``0``.

    Args:
        path: Checkpoint root.
        dry_run: Whether to return the steps and change nothing.

    Returns:
        The steps taken, in words; empty if the root has that layout.

    Raises:
        ValueError: If the root holds no release, a damaged one, or if training has gone on in it.
        RuntimeError: If another process is writing into the root.
        OSError: If the filesystem refuses.
    """
    return _convert(path, _Layout(UPSTREAM_FOLDER, "0", plan_revert, _strip), dry_run)


@dataclass(frozen=True)
class _Layout:
    """A layout that a root is given.

    Attributes:
        folder: Name of its checkpoint folder.
        tracker: Text of its tracker.
        make_plan: Plans how to give it to a root.
        prepare: Makes the layout's files of those linked into a staging folder, given the root, the linked
            checkpoint folder and the plan.
    """

    folder: str
    tracker: str
    make_plan: Callable[[CheckpointDir], Plan]
    prepare: Callable[[Path, Path, Plan], None]


def _convert(path: Path, layout: _Layout, dry_run: bool) -> list[str]:
    """Give a root a layout, and return the steps taken, in words."""
    root = read_checkpoint_dir(path)
    if root.writer is not None:
        raise RuntimeError(CheckpointDirBusyError(path, root.writer))
    clearing = _clearing_steps(root)
    if dry_run and root.replaced is not None:
        # What is to be done after that is known only when the release is back.
        return clearing
    stamps = _stamps(root)
    plan = layout.make_plan(root) if dry_run or not clearing else None
    if plan is not None and (dry_run or not plan.steps):
        return plan.steps + clearing
    return _execute(path, layout, plan, stamps).steps + clearing


def _clearing_steps(root: CheckpointDir) -> list[str]:
    """Return what a publication does first with what dead processes left in a root, in words."""
    steps = [f"remove {left}, which a dead process left" for left in root.leftovers if left != root.replaced]
    if root.replaced is None:
        return steps
    return [f"take {RELEASE}/ back from {root.replaced}/, where an overwrite that was cut short left it", *steps]


def _execute(path: Path, layout: _Layout, plan: Plan | None, stamps: dict[Path, tuple[int, int, int]]) -> Plan:
    """Carry out a plan under the root's lock.

    Args:
        path: Checkpoint root.
        layout: The layout that it is given.
        plan: The plan; None if it can be made only once leftovers are cleared.
        stamps: The `_stamps` of the root that it was made for.

    Returns:
        The plan that was carried out.
    """
    # They import torch and all of Bridge, which takes many seconds.
    from megatron.bridge.release.validation.output_dir import check_writable
    from megatron.bridge.release.write.publish import Publication

    check_writable(path)
    publication = Publication(path, layout.folder)
    staging = publication.begin()
    try:
        # Leftovers are cleared or taken back by now, and nobody else changes the root. Making a plan reads all files,
        # so it is made again only if they have changed.
        root = read_checkpoint_dir(path)
        if plan is None or _stamps(root) != stamps:
            plan = layout.make_plan(root)
        for retired in plan.retire:
            publication.require_movable(path / retired)
        if layout.folder in plan.retire:
            # A run that died has published this folder already; no tracker names it.
            publication.retire(layout.folder)
        if plan.publish:
            folder = publication.link(path / plan.source)
            layout.prepare(path, folder, plan)
            _write_trackers(staging, folder, layout.tracker)
            if (path / layout.folder).exists() and plan.source.startswith(layout.folder):
                # Readers find what they found before, or nothing as before, and from now on what is published.
                publication.move_tracker()
                _write_trackers(staging, folder, layout.tracker)
            publication.commit()
        for retired in plan.retire:
            if retired != layout.folder:
                publication.retire(retired)
    finally:
        publication.end()
    return plan


def _stamps(root: CheckpointDir) -> dict[Path, tuple[int, int, int]]:
    """Return inode, size and modification time of every file of a root's checkpoints, and of its trackers."""
    folders = [root.path / name for name in (*root.checkpoints, *root.empty)]
    files = [folder / name for folder in folders for name in files_of(folder)]
    trackers = [file for file in (root.path / TRACKER, root.path / TRAIN_STATE_TRACKER) if file.exists()]
    stats = {file: file.stat() for file in files + trackers}
    return {file: (stat.st_ino, stat.st_size, stat.st_mtime_ns) for file, stat in stats.items()}


def _write_trackers(staging: Path, folder: Path, tracker: str) -> None:
    (staging / TRACKER).write_text(tracker, encoding="utf-8")
    shutil.copyfile(folder / TRAIN_STATE, staging / TRAIN_STATE_TRACKER)


def _complete(path: Path, folder: Path, plan: Plan) -> None:
    """Write what a release has and its source lacks. A file that is replaced gets a new inode: the source's stays."""
    from megatron.bridge.release.manifest import write_manifest
    from megatron.bridge.release.write.sidecar_files import save_object, write_flags
    from megatron.bridge.training.state import TrainState

    common = _load_common_state(folder, plan.reads_common_state)
    if plan.derive:
        common["args"] = derive_args(path, path / plan.source)
    elif plan.move_tokenizer:
        # The args among the tensors keep the old path: no reader takes them if there is a common.pt.
        common["args"].tokenizer_model = tokenizer_of(path)
    for name in plan.write:
        (folder / name).unlink(missing_ok=True)
    if COMMON_STATE in plan.write:
        save_object(common, folder / COMMON_STATE)
    if FLAGS_FILE in plan.write:
        write_flags(common["args"], folder)
    if TRAIN_STATE in plan.write:
        save_object(TrainState().state_dict(), folder / TRAIN_STATE)
    if SOURCE_FILE in plan.write and plan.record is not None:
        write_source(plan.record, folder)
    if plan.drop_sums:
        (folder / SUMS_FILE).unlink()
    write_manifest(folder)


def _strip(path: Path, folder: Path, plan: Plan) -> None:
    """Remove what a release adds to upstream's layout."""
    for name in (*ADDED_FILES, SUMS_FILE):
        (folder / name).unlink(missing_ok=True)
    if read_metadata(folder).common_entry() is not None:
        (folder / COMMON_STATE).unlink(missing_ok=True)


def _load_common_state(folder: Path, reads_file: bool) -> dict[str, Any]:
    """Load the common state with ``weights_only``: plain values and Megatron Core's own classes alone.

    A hook may have written a ``common.pt`` that holds less than what Megatron Core has stored among the tensors, so
    both are read.

    Args:
        folder: Checkpoint folder.
        reads_file: Whether to read ``common.pt``.

    Returns:
        The common state.

    Raises:
        ValueError: If ``common.pt`` cannot be loaded.
    """
    import torch

    common: dict[str, Any] = {"checkpoint_version": 3.0, "iteration": 0}
    if (entry := read_metadata(folder).common_entry()) is not None:
        with open(folder / entry.file, "rb") as file:
            file.seek(entry.offset)
            stored = io.BytesIO(file.read(entry.length))
        common |= torch.load(stored, map_location="cpu", weights_only=True)[0]
    if reads_file:
        try:
            common |= torch.load(folder / COMMON_STATE, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, TypeError) as error:
            raise ValueError(f"{COMMON_STATE} cannot be loaded ({error}). Move it away, then repair again.") from error
    return common
