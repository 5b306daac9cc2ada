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

from megatron.bridge_release.checking import check_folder
from megatron.bridge_release.folder_check import WRITTEN_BY_REPAIR
from megatron.bridge_release.integrity import files_of
from megatron.bridge_release.layout import (
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
    Root,
    parse_tracker,
)
from megatron.bridge_release.plain_files import Unreadable
from megatron.bridge_release.reading import Metadata, read_common_entry, read_metadata, read_state
from megatron.bridge_release.source import Source, describe_run_config


UPSTREAM_FOLDER = "iter_0000000"


@dataclass
class Plan:
    """What a repair or a revert does.

    Attributes:
        source: The checkpoint folder whose files are kept.
        publish: Whether a folder is published.
        write: Names of the files that are written anew.
        reads_common_state: Whether ``common.pt`` is there and whole.
        drop_sums: Whether the checksums that releases had before the manifest are removed.
        move_tokenizer: Whether the args get the place of the tokenizer, which has moved.
        record: What the run config tells of the model that it was made of; None where it tells nothing.
        derive: Whether the args are derived from the run config.
        retire: Names of checkpoint folders whose files have a second name then, and that are removed.
        steps: All of it, in words.
    """

    source: str
    publish: bool = False
    write: list[str] = field(default_factory=list)
    reads_common_state: bool = False
    drop_sums: bool = False
    move_tokenizer: bool = False
    record: Source | None = None
    derive: bool = False
    retire: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)


def plan_repair(root: Root) -> Plan:
    """Plan what turns a root's import into a release; raise ValueError where nothing can."""
    path = root.path
    _refuse_training(root)
    source = _choose_source(root)
    folder = path / source
    report = check_folder(root, source)
    for problem in report.beyond_repair:
        raise ValueError(problem)
    _refuse_trained(folder, read_metadata(folder))
    for empty in root.empty:
        if not source.startswith(f"{empty}/") and any((path / empty).iterdir()):
            raise ValueError(f"{path / empty} holds no checkpoint, but files. Move it away, then repair again.")
    if "/" in source and (others := sorted(child.name for child in folder.parent.iterdir() if child != folder)):
        raise ValueError(
            f"{folder.parent} holds {', '.join(others)} beside the checkpoint {folder.name}. Move away what is not "
            "the checkpoint's, then repair again."
        )
    damaged = {file.name for file in report.files if file.problem}
    there = {file.name for file in report.files if file.size is not None}
    same = {name.partition("/")[0] for name in root.checkpoints if _is_in(root, name, source)}
    plan = Plan(
        source,
        reads_common_state=COMMON_STATE in there - damaged,
        move_tokenizer=report.tokenizer_moved,
        derive=report.args_problem is not None,
        retire=sorted(same - {RELEASE}),
    )
    _step(plan, source != RELEASE or folder.is_symlink(), f"{RELEASE}/ gets the files of {source}/, as hard links")
    whole = there - damaged
    plan.write = [COMMON_STATE] if plan.derive or plan.move_tokenizer or COMMON_STATE not in whole else []
    plan.write += [FLAGS_FILE] if plan.derive or FLAGS_FILE not in whole else []
    plan.record = describe_run_config(folder)
    plan.write += [SOURCE_FILE] if SOURCE_FILE in damaged or (plan.record and SOURCE_FILE not in there) else []
    plan.write += [TRAIN_STATE] if TRAIN_STATE not in there else []
    plan.write += [INTEGRITY_FILE] if plan.publish or plan.write or INTEGRITY_FILE not in whole else []
    for name in plan.write:
        _step(plan, True, f"write {RELEASE}/{name}{_told_of(plan, name)}")
    # What stands beside the manifest is nobody's.
    plan.drop_sums = SUMS_FILE in there and INTEGRITY_FILE not in there
    _step(plan, plan.drop_sums, f"remove {RELEASE}/{SUMS_FILE}, whose place {INTEGRITY_FILE} takes")
    _step(plan, (root.tracker or "").strip() != RELEASE, f"{TRACKER}: {root.tracker!r} becomes {RELEASE!r}")
    train_state = path / TRAIN_STATE_TRACKER
    _step(
        plan,
        not train_state.exists()
        or TRAIN_STATE not in there
        or train_state.read_bytes() != (folder / TRAIN_STATE).read_bytes(),
        f"write {TRAIN_STATE_TRACKER}",
    )
    _plan_removals(plan, RELEASE)
    return plan


def _told_of(plan: Plan, name: str) -> str:
    """Say what a file that is written gets, where that is not what it always has."""
    if name == COMMON_STATE and (plan.derive or plan.move_tokenizer):
        return f", with args from {RUN_CONFIG}" if plan.derive else ", with the tokenizer's place"
    if name == SOURCE_FILE:
        return f": it was made of {plan.record.made_of}" if plan.record else ""
    return ""


def plan_revert(root: Root) -> Plan:
    """Plan what gives a root's release upstream's layout back; raise ValueError where nothing can."""
    path = root.path
    _refuse_training(root)
    tracker = (root.tracker or "").strip()
    if RELEASE not in root.checkpoints:
        if tracker == "0" and root.checkpoints == (UPSTREAM_FOLDER,):
            return Plan(UPSTREAM_FOLDER)
        raise ValueError(f"{path} holds no release. Checkpoints there: {', '.join(root.checkpoints) or 'none'}.")
    if others := [name for name in root.checkpoints if not _is_in(root, name, RELEASE)]:
        raise ValueError(
            f"{path} holds another checkpoint beside the release: {', '.join(others)}. Move it away first."
        )
    if not tracker:
        raise ValueError(f"{path} has no {TRACKER}. Repair it first.")
    for problem in check_folder(root, RELEASE).beyond_repair:
        raise ValueError(problem)
    _refuse_trained(path / RELEASE, read_metadata(path / RELEASE))
    plan = Plan(RELEASE, retire=list(root.checkpoints))
    if tracker == "0" and UPSTREAM_FOLDER in root.checkpoints:
        # A run that died has published it.
        plan.retire = [RELEASE]
        if not _is_in(root, RELEASE, UPSTREAM_FOLDER):
            raise ValueError(f"{path / RELEASE} holds files that {UPSTREAM_FOLDER} has not. Move one of them away.")
    else:
        _step(plan, True, f"{UPSTREAM_FOLDER}/ gets the files of {RELEASE}/, as hard links, less what a release adds")
        _step(plan, True, f"{TRACKER}: {root.tracker!r} becomes '0'")
    _plan_removals(plan, UPSTREAM_FOLDER)
    return plan


def _step(plan: Plan, needed: bool, text: str) -> None:
    """Plan a step of what is published together."""
    if needed:
        plan.publish = True
        plan.steps.append(text)


def _plan_removals(plan: Plan, name: str) -> None:
    plan.steps += [f"remove {retired}/: {name}/ has its files" for retired in plan.retire if retired != name]


def _refuse_training(root: Root) -> None:
    trained = [
        name
        for name in (*root.checkpoints, *root.empty)
        if (match := ITERATION_FOLDER.fullmatch(name)) and int(match[1]) > 0
    ]
    if trained:
        raise ValueError(f"{root.path} holds checkpoints of a training ({', '.join(trained)}), not only an import.")
    try:
        iteration, _ = parse_tracker(root.tracker or "", TRACKER)
    except ValueError:
        # A torn one is written anew.
        return
    if iteration > 0:
        raise ValueError(
            f"The tracker of {root.path} says {iteration}: training has gone on in it, and its checkpoint is not "
            f"there. Restore that, or write '{RELEASE}' into {TRACKER}, then repair again."
        )


def _choose_source(root: Root) -> str:
    """Tell which checkpoint is the one that was imported.

    Raises:
        ValueError: If there is none, or if nothing tells which of several it is.
    """
    if not root.checkpoints:
        left = f", but what a dead process left ({', '.join(root.leftovers)})" if root.leftovers else ""
        raise ValueError(f"{root.path} holds no checkpoint{left}. Import the model again, or give another folder.")
    first = RELEASE if RELEASE in root.checkpoints else root.checkpoints[0]
    others = [name for name in root.checkpoints if not _is_in(root, name, first)]
    if not others:
        return first
    named = first == RELEASE and (root.tracker or "").strip() == RELEASE
    if named and not any("/" in name for name in others):
        return RELEASE
    raise ValueError(
        f"{root.path} holds more than one checkpoint: {', '.join(root.checkpoints)}. Move away those that you do not "
        "want, then repair again."
    )


def _is_in(root: Root, name: str, kept: str) -> bool:
    """Tell whether all files of a checkpoint folder have a second name in another, as a repair that died leaves them.

    But for those that a repair writes anew.
    """
    if name == kept:
        return True
    folder, other = root.path / name, root.path / kept
    return "/" not in name + kept and all(
        (other / file).exists() and (other / file).samefile(folder / file)
        for file in files_of(folder)
        if file not in WRITTEN_BY_REPAIR
    )


def _refuse_trained(folder: Path, metadata: Metadata) -> None:
    if any("optimizer" in key.split(".") for key in (*metadata.tensors, *metadata.objects)):
        raise ValueError(f"{folder} is a checkpoint of a training: it holds optimizer state.")
    try:
        common = read_state(folder)
    except Unreadable:
        common = read_common_entry(folder, metadata) or {}
    state = read_state(folder, TRAIN_STATE) if (folder / TRAIN_STATE).exists() else {}
    for iteration in (common.get("iteration"), state.get("step")):
        if isinstance(iteration, int) and iteration > 0:
            raise ValueError(f"{folder} is a checkpoint of a training: it is at iteration {iteration}.")
