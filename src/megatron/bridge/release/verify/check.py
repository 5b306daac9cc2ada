# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Checks whether a checkpoint loads: its files, their damage, and which readers can load it."""

from pathlib import Path

from megatron.bridge.release.checkpoint_dir import CheckpointDir, find_import, read_checkpoint_dir
from megatron.bridge.release.layout import TRACKER, tracked_directory
from megatron.bridge.release.verify.findings import (
    ActiveWriter,
    FailedStep,
    InterruptedOverwrite,
    InvalidTracker,
    Leftovers,
    MissingCheckpoint,
    MissingTracker,
    NestedCheckpoint,
)
from megatron.bridge.release.verify.folder import check_files
from megatron.bridge.release.verify.report import Report


def check(path: Path, release: Path | None = None) -> Report:
    """Check the checkpoint that the tracker of a checkpoint directory names.

    Every file is read once, to compare its checksum. Problems are reported, not raised.

    Args:
        path: Checkpoint directory.
        release: Release that the checkpoint belongs to; None if it is in the same directory.
    """
    report = Report(path)
    try:
        root = read_checkpoint_dir(path)
        report.tracker = root.tracker
        report.folder = _choose_folder(report, root)
        if report.folder is not None:
            check_files(report, root, release)
    except (ValueError, OSError) as error:
        report.add_problem(FailedStep(None, error))
    return report


def check_folder(root: CheckpointDir, name: str, release: Path | None = None) -> Report:
    """Check the checkpoint of a name, whatever the tracker contains. Raise OSError if it cannot be read."""
    report = Report(root.path, tracker=root.tracker, folder=name)
    check_files(report, root, release)
    return report


def _choose_folder(report: Report, root: CheckpointDir) -> str | None:
    """Return the name of the checkpoint to check, and report the problems of the checkpoint directory."""
    repair = root.path if find_import(root) is not None else None
    for name in root.checkpoints:
        if "/" in name:
            report.add_problem(NestedCheckpoint(root.path, name, repair))
    if root.replaced is not None:
        report.add_problem(InterruptedOverwrite(root.path, root.replaced))
        return None
    if root.lock_owner is not None:
        report.notes.append(ActiveWriter(root.lock_owner))
    elif root.leftovers:
        report.notes.append(Leftovers(root.leftovers))
    if root.tracker is None:
        report.add_problem(MissingTracker(root.path, root.checkpoints, repair))
        return root.checkpoints[-1] if root.checkpoints else None
    try:
        name = tracked_directory(root.tracker, str(root.path / TRACKER))
    except ValueError as error:
        report.add_problem(InvalidTracker(error, root.checkpoints, repair))
        return root.checkpoints[-1] if len(root.checkpoints) == 1 else None
    if name in root.checkpoints or name in root.empty:
        return name
    report.add_problem(MissingCheckpoint(root.path, name, root.checkpoints, repair))
    return None
