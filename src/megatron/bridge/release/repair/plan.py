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

"""Decides what a repair or a revert does, without doing it."""

from dataclasses import dataclass, field
from pathlib import Path

from megatron.bridge.release.checkpoint_dir import CheckpointDir
from megatron.bridge.release.errors import CorruptFileError
from megatron.bridge.release.layout import (
    COMMON_STATE,
    FLAGS_FILE,
    INTEGRITY_FILE,
    ITERATION_FOLDER,
    RELEASE,
    RUN_CONFIG,
    SOURCE_FILE,
    SUMS_FILE,
    TRACKER,
    TRAIN_STATE,
    TRAIN_STATE_TRACKER,
    parse_tracker,
)
from megatron.bridge.release.manifest import files_of
from megatron.bridge.release.source.provenance import SourceRecord, source_from_run_config
from megatron.bridge.release.verify.check import check_folder
from megatron.bridge.release.verify.dcp_metadata import read_common_entry, read_metadata, read_state
from megatron.bridge.release.verify.folder import WRITTEN_BY_REPAIR


UPSTREAM_FOLDER = "iter_0000000"


@dataclass
class Plan:
    """What a repair or a revert does.

    Attributes:
        source: Path, in the root, of the checkpoint folder whose files are kept.
        publish: Whether a folder is published.
        write: Names of the files that are written anew.
        reads_common_state: Whether ``common.pt`` is there and undamaged.
        drop_sums: Whether to remove the checksums that releases had before the manifest.
        move_tokenizer: Whether the args get the new path of a tokenizer that has moved.
        record: The model that the run config names; None if it names none.
        derive: Whether the args are derived from the run config.
        retire: Names of the checkpoint folders to remove, whose files have a second name by then.
        steps: All of it, in words.
    """

    source: str
    publish: bool = False
    write: list[str] = field(default_factory=list)
    reads_common_state: bool = False
    drop_sums: bool = False
    move_tokenizer: bool = False
    record: SourceRecord | None = None
    derive: bool = False
    retire: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)


def plan_repair(root: CheckpointDir) -> Plan:
    """Plan how to turn a root's import into a release.

    Args:
        root: The root.

    Returns:
        The plan; without steps if the root holds a release that needs no repair.

    Raises:
        ValueError: If the root contains no checkpoint, a damaged one, more than one, or one of a training run.
        OSError: If a file cannot be read.
    """
    _refuse_training(root)
    source = _choose_source(root)
    report = check_folder(root, source)
    for problem in report.beyond_repair:
        raise ValueError(problem)
    _refuse_trained(root.path / source)
    _refuse_other_files(root, source)
    there = {file.name for file in report.files if file.size is not None}
    damaged = {file.name for file in report.files if file.problem is not None}
    same = {name.partition("/")[0] for name in root.checkpoints if _is_in(root, name, source)}
    plan = Plan(
        source,
        reads_common_state=COMMON_STATE in there - damaged,
        move_tokenizer=report.tokenizer_moved,
        derive=report.args_problem is not None,
        retire=sorted(same - {RELEASE}),
    )
    is_link = (root.path / source).is_symlink()
    _step(plan, source != RELEASE or is_link, f"{RELEASE}/ gets the files of {source}/, as hard links")
    _plan_files(plan, root.path / source, there, damaged)
    _plan_trackers(plan, root, there)
    _plan_removals(plan, RELEASE)
    return plan


def _plan_files(plan: Plan, folder: Path, there: set[str], damaged: set[str]) -> None:
    """Plan which files of a release are written anew.

    Args:
        plan: The plan, which is added to.
        folder: Checkpoint folder whose files are kept.
        there: Names of the files that it has.
        damaged: Names of the files that are damaged, or missing and named by the manifest.
    """
    whole = there - damaged
    plan.record = source_from_run_config(folder)
    new_args = plan.derive or plan.move_tokenizer
    needed = {
        COMMON_STATE: new_args or COMMON_STATE not in whole,
        FLAGS_FILE: plan.derive or FLAGS_FILE not in whole,
        # A damaged record goes, even if there is nothing to write in its place.
        SOURCE_FILE: SOURCE_FILE in damaged or (SOURCE_FILE not in there and plan.record is not None),
        TRAIN_STATE: TRAIN_STATE not in there,
    }
    plan.write = [name for name, write in needed.items() if write]
    if plan.publish or plan.write or INTEGRITY_FILE not in whole:
        plan.write.append(INTEGRITY_FILE)
    for name in plan.write:
        _step(plan, True, f"write {RELEASE}/{name}{_describe_content(plan, name)}")
    # Beside a manifest, a file of that name is not ours.
    plan.drop_sums = SUMS_FILE in there and INTEGRITY_FILE not in there
    _step(plan, plan.drop_sums, f"remove {RELEASE}/{SUMS_FILE}, whose place {INTEGRITY_FILE} takes")


def _describe_content(plan: Plan, name: str) -> str:
    """Return what is special about the content of a file that is written; an empty string if nothing is."""
    if name == COMMON_STATE and (plan.derive or plan.move_tokenizer):
        return f", with args from {RUN_CONFIG}" if plan.derive else ", with the tokenizer's place"
    if name == SOURCE_FILE:
        return f": imported from {plan.record.made_of}" if plan.record else ""
    return ""


def _plan_trackers(plan: Plan, root: CheckpointDir, there: set[str]) -> None:
    """Plan which trackers are written, given the names of the files that the source has."""
    _step(plan, (root.tracker or "").strip() != RELEASE, f"{TRACKER}: {root.tracker!r} becomes {RELEASE!r}")
    tracker, state = root.path / TRAIN_STATE_TRACKER, root.path / plan.source / TRAIN_STATE
    same = tracker.exists() and TRAIN_STATE in there and tracker.read_bytes() == state.read_bytes()
    _step(plan, not same, f"write {TRAIN_STATE_TRACKER}")


def _refuse_other_files(root: CheckpointDir, source: str) -> None:
    """Refuse a root in which files that belong to no checkpoint stand where a repair removes folders.

    Raises:
        ValueError: If there are such files.
    """
    folder = root.path / source
    for empty in root.empty:
        if not source.startswith(f"{empty}/") and any((root.path / empty).iterdir()):
            raise ValueError(
                f"{root.path / empty} contains no checkpoint, but files. Move it away, and run the repair again."
            )
    if "/" in source and (others := sorted(child.name for child in folder.parent.iterdir() if child != folder)):
        raise ValueError(
            f"{folder.parent} holds {', '.join(others)} beside the checkpoint {folder.name}. Move away what is not "
            "the checkpoint's, then repair again."
        )


def plan_revert(root: CheckpointDir) -> Plan:
    """Plan how to give a root's release upstream's layout back.

    Args:
        root: The root.

    Returns:
        The plan; without steps if the root has that layout.

    Raises:
        ValueError: If the root holds no release, a damaged one, another checkpoint, or one of a training run.
        OSError: If a file cannot be read.
    """
    path = root.path
    _refuse_training(root)
    tracker = (root.tracker or "").strip()
    if RELEASE not in root.checkpoints:
        if tracker == "0" and root.checkpoints == (UPSTREAM_FOLDER,):
            return Plan(UPSTREAM_FOLDER)
        raise ValueError(
            f"{path} contains no release to revert. Checkpoints there: {', '.join(root.checkpoints) or 'none'}."
        )
    if others := [name for name in root.checkpoints if not _is_in(root, name, RELEASE)]:
        raise ValueError(
            f"{path} contains another checkpoint next to the release: {', '.join(others)}. Move it away first."
        )
    if not tracker:
        raise ValueError(f"{path} has no {TRACKER}. Repair it first.")
    for problem in check_folder(root, RELEASE).beyond_repair:
        raise ValueError(problem)
    _refuse_trained(path / RELEASE)
    plan = Plan(RELEASE, retire=list(root.checkpoints))
    if tracker == "0" and UPSTREAM_FOLDER in root.checkpoints:
        # A revert that died has published it.
        plan.retire = [RELEASE]
        if not _is_in(root, RELEASE, UPSTREAM_FOLDER):
            raise ValueError(f"{path / RELEASE} holds files that {UPSTREAM_FOLDER} has not. Move one of them away.")
    else:
        _step(plan, True, f"{UPSTREAM_FOLDER}/ gets the files of {RELEASE}/, as hard links, less what a release adds")
        _step(plan, True, f"{TRACKER}: {root.tracker!r} becomes '0'")
    _plan_removals(plan, UPSTREAM_FOLDER)
    return plan


def _step(plan: Plan, needed: bool, text: str) -> None:
    """Add a step that publishing takes, if it is needed."""
    if needed:
        plan.publish = True
        plan.steps.append(text)


def _plan_removals(plan: Plan, name: str) -> None:
    plan.steps += [f"remove {retired}/: {name}/ has its files" for retired in plan.retire if retired != name]


def _refuse_training(root: CheckpointDir) -> None:
    """Refuse a root in which training has gone on, by the names of its folders and its tracker.

    Raises:
        ValueError: If it has.
    """
    trained = [
        name
        for name in (*root.checkpoints, *root.empty)
        if (match := ITERATION_FOLDER.fullmatch(name)) and int(match[1]) > 0
    ]
    if trained:
        raise ValueError(f"{root.path} contains checkpoints of a training ({', '.join(trained)}), not only an import.")
    try:
        iteration, _ = parse_tracker(root.tracker or "", TRACKER)
    except ValueError:
        # A repair writes a torn tracker anew.
        return
    if iteration > 0:
        raise ValueError(
            f"The tracker of {root.path} says {iteration}: training has gone on in it, and its checkpoint is not "
            f"there. Restore that, or write '{RELEASE}' into {TRACKER}, then repair again."
        )


def _choose_source(root: CheckpointDir) -> str:
    """Return the path, in the root, of the checkpoint that was imported.

    Raises:
        ValueError: If there is none, or if nothing says which of several it is.
    """
    if not root.checkpoints:
        left = f", but what a dead process left ({', '.join(root.leftovers)})" if root.leftovers else ""
        raise ValueError(f"{root.path} contains no checkpoint{left}. Import the model again, or give another folder.")
    first = RELEASE if RELEASE in root.checkpoints else root.checkpoints[0]
    others = [name for name in root.checkpoints if not _is_in(root, name, first)]
    if not others:
        return first
    named = first == RELEASE and (root.tracker or "").strip() == RELEASE
    if named and not any("/" in name for name in others):
        return RELEASE
    raise ValueError(
        f"{root.path} contains more than one checkpoint: {', '.join(root.checkpoints)}. Move away those that you do not "
        "want, then repair again."
    )


def _is_in(root: CheckpointDir, name: str, kept: str) -> bool:
    """Return whether all files of a checkpoint folder have a second name in another one.

    A repair that died leaves them so. Files that a repair writes anew do not count.
    """
    if name == kept:
        return True
    folder, other = root.path / name, root.path / kept
    return "/" not in name + kept and all(
        (other / file).exists() and (other / file).samefile(folder / file)
        for file in files_of(folder)
        if file not in WRITTEN_BY_REPAIR
    )


def _refuse_trained(folder: Path) -> None:
    """Refuse a checkpoint folder that a training run has written, by what is in it.

    Raises:
        ValueError: If it holds optimizer state, or is at an iteration over 0.
        CorruptFileError: If neither can be read.
    """
    metadata = read_metadata(folder)
    if any("optimizer" in key.split(".") for key in (*metadata.tensors, *metadata.objects)):
        raise ValueError(f"{folder} is a checkpoint of a training: it contains optimizer state.")
    try:
        common = read_state(folder)
    except CorruptFileError:
        common = read_common_entry(folder, metadata) or {}
    state = read_state(folder, TRAIN_STATE) if (folder / TRAIN_STATE).exists() else {}
    for iteration in (common.get("iteration"), state.get("step")):
        if isinstance(iteration, int) and iteration > 0:
            raise ValueError(f"{folder} is a checkpoint of a training: it is at iteration {iteration}.")
