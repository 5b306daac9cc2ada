# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Converts an import of upstream's, or one modified by a rename script, to a release, without copying a tensor.

The files are hard-linked into a staging directory, missing files are written next to them, and the staging directory is
published as an import's is. The old names are removed last. If a repair is interrupted, readers find the old checkpoint
or the release, and the next run completes the repair.
"""

import io
import pickle
import shutil
from pathlib import Path
from typing import Any

from megatron.bridge.release.checkpoint_dir import CheckpointDir, read_checkpoint_dir
from megatron.bridge.release.errors import CheckpointDirBusyError
from megatron.bridge.release.layout import (
    COMMON_STATE,
    FLAGS_FILE,
    RELEASE,
    SOURCE_FILE,
    TRACKER,
    TRAIN_STATE,
    TRAIN_STATE_TRACKER,
)
from megatron.bridge.release.manifest import files_of
from megatron.bridge.release.repair.args_from_run_config import derive_args, tokenizer_dir
from megatron.bridge.release.repair.errors import UnloadableCommonStateError
from megatron.bridge.release.repair.plan import RepairPlan, plan_repair
from megatron.bridge.release.source.provenance import write_source
from megatron.bridge.release.verify.dcp_metadata import read_metadata


def repair(path: Path, *, dry_run: bool = False) -> list[str]:
    """Convert the import in a checkpoint directory to a release, or complete a release.

    Args:
        path: Checkpoint directory.
        dry_run: Whether to return the steps and change nothing.

    Returns:
        The steps taken, in words; empty if there is a complete release.

    Raises:
        ReleaseError: If there is no checkpoint, a damaged one, more than one, or one of a training.
        RuntimeError: If another process is writing into the directory.
        OSError: If the filesystem refuses.
    """
    root = read_checkpoint_dir(path)
    if root.lock_owner is not None:
        raise CheckpointDirBusyError(path, root.lock_owner)
    clearing = _clearing_steps(root)
    if dry_run and root.replaced is not None:
        # The other steps depend on the restored release.
        return clearing
    stamps = _stamps(root)
    plan = plan_repair(root) if dry_run or not clearing else None
    if plan is not None and (dry_run or not plan.steps):
        return plan.steps + clearing
    return _execute(path, plan, stamps).steps + clearing


def _clearing_steps(root: CheckpointDir) -> list[str]:
    """Return what a publication does first with the leftovers of interrupted runs, in words."""
    steps = [f"remove {name} (left by an interrupted run)" for name in root.leftovers if name != root.replaced]
    if root.replaced is None:
        return steps
    return [f"restore {RELEASE}/ from {root.replaced}/ (interrupted --overwrite)", *steps]


def _execute(path: Path, plan: RepairPlan | None, stamps: dict[Path, tuple[int, int, int]]) -> RepairPlan:
    """Repair a checkpoint directory under its lock, and return the plan that it followed.

    Args:
        path: Checkpoint directory.
        plan: The plan; None if leftovers must be removed before it can be made.
        stamps: The `_stamps` for which it was made.
    """
    # These import torch and all of Bridge, which takes many seconds.
    from megatron.bridge.release.validation.output_dir import check_writable
    from megatron.bridge.release.write.publish import Publication

    check_writable(path)
    publication = Publication(path)
    staging = publication.begin()
    try:
        # A plan reads all files, so it is made again only if they have changed before the lock.
        root = read_checkpoint_dir(path)
        if plan is None or _stamps(root) != stamps:
            plan = plan_repair(root)
        for name in plan.retire:
            publication.require_movable(path / name)
        if plan.publish:
            release = publication.link(path / plan.source)
            _complete(path, release, plan)
            _write_trackers(staging, release)
            if (path / RELEASE).exists() and plan.source.startswith(RELEASE):
                # Switch the tracker first: readers keep seeing the old state until the directory is renamed.
                publication.move_tracker()
                _write_trackers(staging, release)
            publication.commit()
        for name in plan.retire:
            publication.retire(name)
    finally:
        publication.end()
    return plan


def _stamps(root: CheckpointDir) -> dict[Path, tuple[int, int, int]]:
    """Return inode, size and modification time of every file of the checkpoints, and of the trackers."""
    folders = [root.path / name for name in (*root.checkpoints, *root.empty)]
    files = [folder / name for folder in folders for name in files_of(folder)]
    trackers = [file for file in (root.path / TRACKER, root.path / TRAIN_STATE_TRACKER) if file.exists()]
    stats = {file: file.stat() for file in files + trackers}
    return {file: (stat.st_ino, stat.st_size, stat.st_mtime_ns) for file, stat in stats.items()}


def _write_trackers(staging: Path, release: Path) -> None:
    (staging / TRACKER).write_text(RELEASE, encoding="utf-8")
    shutil.copyfile(release / TRAIN_STATE, staging / TRAIN_STATE_TRACKER)


def _complete(path: Path, folder: Path, plan: RepairPlan) -> None:
    """Write the planned files. A file that is replaced gets a new inode: the source's stays."""
    from megatron.bridge.release.manifest import write_manifest
    from megatron.bridge.release.write.sidecar_files import save_object, write_flags
    from megatron.bridge.training.state import TrainState

    common = _load_common_state(folder, plan.reads_common_state)
    if plan.derive_args:
        common["args"] = derive_args(path, path / plan.source)
    elif plan.move_tokenizer:
        # The args among the tensors keep the old path: no reader uses them if there is a common.pt.
        common["args"].tokenizer_model = tokenizer_dir(path)
    for name in plan.write:
        (folder / name).unlink(missing_ok=True)
    if COMMON_STATE in plan.write:
        save_object(common, folder / COMMON_STATE)
    if FLAGS_FILE in plan.write:
        write_flags(common["args"], folder)
    if TRAIN_STATE in plan.write:
        save_object(TrainState().state_dict(), folder / TRAIN_STATE)
    if SOURCE_FILE in plan.write and plan.source_model is not None:
        write_source(plan.source_model, folder)
    write_manifest(folder)


def _load_common_state(folder: Path, reads_file: bool) -> dict[str, Any]:
    """Load the common state with ``weights_only``: from the tensors and, if ``reads_file``, from ``common.pt``.

    A hook may have written a ``common.pt`` with less than Megatron Core has stored among the tensors.
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
            raise UnloadableCommonStateError(folder / COMMON_STATE, " ".join(str(error).split())) from error
    return common
