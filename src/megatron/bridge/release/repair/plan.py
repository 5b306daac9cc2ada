# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Plans a repair: which files of a release are kept, and which are written."""

from dataclasses import dataclass, field
from pathlib import Path

from megatron.bridge.release.checkpoint_dir import CheckpointDir, find_import, is_linked_copy, trained_checkpoints
from megatron.bridge.release.errors import CorruptFileError
from megatron.bridge.release.layout import (
    COMMON_STATE,
    FLAGS_FILE,
    INTEGRITY_FILE,
    RELEASE,
    RUN_CONFIG,
    SOURCE_FILE,
    TRACKER,
    TRAIN_STATE,
    TRAIN_STATE_TRACKER,
    parse_tracker,
)
from megatron.bridge.release.repair.errors import (
    LostTrainingError,
    NothingToRepairError,
    OtherFilesError,
    SeveralCheckpointsError,
    TrainedCheckpointError,
    TrainingError,
)
from megatron.bridge.release.source.provenance import SourceRecord, source_from_run_config
from megatron.bridge.release.verify.check import check_folder
from megatron.bridge.release.verify.dcp_metadata import read_embedded_common_state, read_metadata, read_state
from megatron.bridge.release.verify.errors import DamagedCheckpointError


@dataclass
class RepairPlan:
    """Steps of a repair.

    Attributes:
        source: Path, in the checkpoint directory, of the checkpoint whose files are kept.
        publish: Whether a release is published.
        write: Names of the files to write.
        reads_common_state: Whether there is an undamaged ``common.pt``.
        move_tokenizer: Whether the args get the new path of a tokenizer that has moved.
        source_model: The source model that the run config names; None if it names none.
        derive_args: Whether the args are derived from the run config.
        retire: Names of the checkpoints to remove, whose files have a hard link in the release by then.
        steps: All of it, in words.
    """

    source: str
    publish: bool = False
    write: list[str] = field(default_factory=list)
    reads_common_state: bool = False
    move_tokenizer: bool = False
    source_model: SourceRecord | None = None
    derive_args: bool = False
    retire: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)


def plan_repair(root: CheckpointDir) -> RepairPlan:
    """Plan how to convert an import to a release; the plan for a complete release has no steps.

    Raises:
        ReleaseError: If there is no checkpoint, a damaged one, more than one, or one of a training.
        OSError: If a file cannot be read.
    """
    _refuse_training(root)
    source = find_import(root)
    if source is None:
        if root.checkpoints:
            raise SeveralCheckpointsError(root.path, root.checkpoints)
        raise NothingToRepairError(root.path, root.leftovers)
    report = check_folder(root, source)
    for problem in report.unrepairable:
        raise DamagedCheckpointError(problem)
    _refuse_trained(root.path / source)
    _refuse_other_files(root, source)
    existing = {file.name for file in report.files.values() if file.size is not None}
    undamaged = existing - {file.name for file in report.files.values() if file.status != "ok"}
    linked = {name.partition("/")[0] for name in root.checkpoints if is_linked_copy(root, name, source)}
    plan = RepairPlan(
        source,
        reads_common_state=COMMON_STATE in undamaged,
        move_tokenizer=report.has_moved_tokenizer,
        source_model=source_from_run_config(root.path / source),
        derive_args=report.args_problem is not None,
        retire=sorted(linked - {RELEASE}),
    )
    if source != RELEASE or (root.path / source).is_symlink():
        _add_step(plan, f"hard-link the files of {source}/ into {RELEASE}/")
    _plan_files(plan, existing, undamaged)
    _plan_trackers(plan, root, existing)
    plan.steps += [f"remove {name}/ ({RELEASE}/ has its files)" for name in plan.retire]
    return plan


def _add_step(plan: RepairPlan, text: str) -> None:
    """Add a step for which the release is published."""
    plan.publish = True
    plan.steps.append(text)


def _plan_files(plan: RepairPlan, existing: set[str], undamaged: set[str]) -> None:
    """Plan which files to write, given the names of those that the source has."""
    changed = f"args from {RUN_CONFIG}" if plan.derive_args else "new path of the tokenizer"
    origin = "" if plan.source_model is None else f": imported from {plan.source_model.model}"
    new_args = plan.derive_args or plan.move_tokenizer
    # A corrupt record of the source model is removed even if there is nothing to write instead.
    is_unknown = SOURCE_FILE not in existing and plan.source_model is not None
    for name, is_needed, content in (
        (COMMON_STATE, new_args or COMMON_STATE not in undamaged, f" ({changed})" if new_args else ""),
        (FLAGS_FILE, plan.derive_args or FLAGS_FILE not in undamaged, ""),
        (SOURCE_FILE, is_unknown or SOURCE_FILE in existing - undamaged, origin),
        (TRAIN_STATE, TRAIN_STATE not in existing, ""),
    ):
        if is_needed:
            plan.write.append(name)
            _add_step(plan, f"write {RELEASE}/{name}{content}")
    if plan.publish or INTEGRITY_FILE not in undamaged:
        plan.write.append(INTEGRITY_FILE)
        _add_step(plan, f"write {RELEASE}/{INTEGRITY_FILE}")


def _plan_trackers(plan: RepairPlan, root: CheckpointDir, existing: set[str]) -> None:
    if (root.tracker or "").strip() != RELEASE:
        before = "missing" if root.tracker is None else f"was {root.tracker!r}"
        _add_step(plan, f"set {TRACKER} to {RELEASE!r} ({before})")
    tracker, state = root.path / TRAIN_STATE_TRACKER, root.path / plan.source / TRAIN_STATE
    if not (tracker.exists() and TRAIN_STATE in existing and tracker.read_bytes() == state.read_bytes()):
        _add_step(plan, f"write {TRAIN_STATE_TRACKER}")


def _refuse_other_files(root: CheckpointDir, source: str) -> None:
    """Refuse a checkpoint directory in which a repair would remove files of no checkpoint."""
    folder = root.path / source
    for empty in root.empty:
        if not source.startswith(f"{empty}/") and any((root.path / empty).iterdir()):
            raise OtherFilesError(root.path / empty, ())
    if "/" in source and (names := sorted(child.name for child in folder.parent.iterdir() if child != folder)):
        raise OtherFilesError(folder.parent, tuple(names))


def _refuse_training(root: CheckpointDir) -> None:
    """Refuse a checkpoint directory in which training has continued, by the names of its checkpoints and its tracker."""
    trained = trained_checkpoints(root)
    if trained:
        raise TrainingError(root.path, trained)
    try:
        iteration, _ = parse_tracker(root.tracker or "", TRACKER)
    except ValueError:
        # A repair writes an invalid tracker again.
        return
    if iteration > 0:
        raise LostTrainingError(root.path, iteration)


def _refuse_trained(folder: Path) -> None:
    """Refuse a checkpoint whose content shows that a training has written it."""
    metadata = read_metadata(folder)
    if any("optimizer" in key.split(".") for key in (*metadata.tensors, *metadata.objects)):
        raise TrainedCheckpointError(folder, None)
    try:
        common = read_state(folder)
    except CorruptFileError:
        common = read_embedded_common_state(folder, metadata) or {}
    state = read_state(folder, TRAIN_STATE) if (folder / TRAIN_STATE).exists() else {}
    for iteration in (common.get("iteration"), state.get("step")):
        if isinstance(iteration, int) and iteration > 0:
            raise TrainedCheckpointError(folder, iteration)
