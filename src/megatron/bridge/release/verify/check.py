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


"""Checks whether a checkpoint loads: what is there, what is damaged, who can read it, and why others cannot."""

from pathlib import Path

from megatron.bridge.release.checkpoint_dir import CheckpointDir, read_checkpoint_dir
from megatron.bridge.release.errors import command_line
from megatron.bridge.release.layout import RELEASE, TRACKER, parse_tracker
from megatron.bridge.release.verify.folder import FolderCheck
from megatron.bridge.release.verify.report import Report


def check(path: Path, release: Path | None = None) -> Report:
    """Check the checkpoint that the tracker of a root names.

    Every file is read once, to compare it with its checksum. A terminal shows the progress.

    Args:
        path: Checkpoint root.
        release: Folder of the release that it belongs to; None if it is in the root.

    Returns:
        What was found. Problems of the checkpoint are reported in it, not raised.
    """
    report = Report(str(path))
    try:
        root = read_checkpoint_dir(path)
        report.tracker = root.tracker
        report.folder = _choose_folder(report, root)
        if report.folder is not None:
            FolderCheck(report, root, release).run()
    except (ValueError, OSError) as error:
        report.add_problem(str(error))
    return report


def check_folder(root: CheckpointDir, name: str, release: Path | None = None) -> Report:
    """Check one of a root's checkpoint folders, whatever the tracker says.

    Args:
        root: The root.
        name: Path, in the root, of the checkpoint folder.
        release: Folder of the release that it belongs to; None if it is in the root.

    Returns:
        What was found.

    Raises:
        OSError: If the folder cannot be read.
    """
    report = Report(str(root.path), tracker=root.tracker, folder=name)
    FolderCheck(report, root, release).run()
    return report


def _choose_folder(report: Report, root: CheckpointDir) -> str | None:
    """Choose the folder to check, and report what is wrong with the way to it.

    Returns:
        Path, in the root, of the checkpoint folder; None if there is none to check.
    """
    for name in root.checkpoints:
        if "/" in name:
            report.add_problem(
                f"{root.path} contains a checkpoint inside another checkpoint: {name}. {command_line('repair', root.path)}"
            )
    if root.replaced is not None:
        report.add_problem(
            f"{root.path} has its release in {root.replaced}/, where an overwrite that was cut short has left it. "
            + command_line("repair", root.path)
        )
        return None
    if root.writer is not None:
        report.notes.append(f"An import is writing into it now ({root.writer}): this report may be out of date soon.")
    elif root.leftovers:
        report.notes.append(
            f"An import died, and left {', '.join(root.leftovers)}. The next import or repair clears it."
        )
    there = ", ".join(root.checkpoints) or "none"
    if root.tracker is None:
        report.add_problem(
            f"{root.path} has no {TRACKER}: Megatron-LM treats it as empty. Checkpoints there: {there}. "
            + (
                command_line("repair", root.path)
                if root.checkpoints
                else "Import the model again, or give another folder."
            )
        )
        return root.checkpoints[-1] if root.checkpoints else None
    try:
        iteration, release = parse_tracker(root.tracker, str(root.path / TRACKER))
    except ValueError as error:
        report.add_problem(f"{error} Checkpoints there: {there}. Or: {command_line('repair', root.path)}")
        return root.checkpoints[-1] if len(root.checkpoints) == 1 else None
    name = RELEASE if release else f"iter_{iteration:07d}"
    if name in root.checkpoints or name in root.empty:
        return name
    report.add_problem(
        f"The tracker of {root.path} names the checkpoint {name}, which is not there. Checkpoints there: {there}. "
        + (command_line("repair", root.path) if root.checkpoints else "Restore the folder, or import the model again.")
    )
    return None
