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

A checkpoint folder's files get a second name in a staging folder (hard links), what is missing is written beside
them, and the staging folder is published as an import's is. Only then are the first names removed. So whatever stops
it, a reader finds what it found before or the release, and the next run goes on.
"""

import argparse
import errno
import io
import pickle
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Callable

from megatron.bridge_release.checking import EMBEDDING, WRITTEN_BY_REPAIR, check_folder, find_args_problem
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
    TOKENIZER,
    TRACKER,
    TRAIN_STATE,
    TRAIN_STATE_TRACKER,
    Root,
    busy_message,
    look,
    parse_tracker,
)
from megatron.bridge_release.reading import (
    Metadata,
    Tensor,
    Unreadable,
    load_yaml,
    read_common_entry,
    read_metadata,
    read_state,
)
from megatron.bridge_release.source import Source, describe_run_config, write_source


if TYPE_CHECKING:
    from megatron.bridge.training.utils.publishing import Filesystem

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


def repair(path: Path, *, dry_run: bool = False) -> list[str]:
    """Turn an import that upstream or a hook has left into a release.

    Args:
        path: Checkpoint root.
        dry_run: Whether to change nothing.

    Returns:
        What is done, a step a line; empty where the root holds a release that is as an import writes it.

    Raises:
        ValueError: If the root holds no checkpoint, a damaged one, more than one, or one of a training.
        RuntimeError: If another process is writing into the root.
        OSError: If the filesystem refuses.
    """
    return _carry_out(path, _plan_repair, RELEASE, "release", _complete, dry_run)


def revert(path: Path, *, dry_run: bool = False) -> list[str]:
    """Give a release upstream's layout back: ``iter_0000000`` and the tracker ``0``.

    Args:
        path: Checkpoint root.
        dry_run: Whether to change nothing.

    Returns:
        What is done, a step a line; empty where the root has that layout.

    Raises:
        ValueError: If the root holds no release, a damaged one, or if training has gone on in it.
        RuntimeError: If another process is writing into the root.
        OSError: If the filesystem refuses.
    """
    return _carry_out(path, _plan_revert, UPSTREAM_FOLDER, "0", _strip, dry_run)


def _carry_out(
    path: Path,
    make_plan: Callable[[Root], Plan],
    name: str,
    tracker: str,
    prepare: Callable[[Path, Path, Plan], None],
    dry_run: bool,
) -> list[str]:
    root = look(path)
    if root.writer is not None:
        raise RuntimeError(busy_message(path, root.writer))
    clearing = [f"remove {left}, which a dead process left" for left in root.leftovers if left != root.replaced]
    if root.replaced is not None:
        clearing.insert(
            0, f"take {RELEASE}/ back from {root.replaced}/, where an overwrite that was cut short left it"
        )
        if dry_run:
            return clearing
    stamps = _stamps(root)
    plan = make_plan(root) if dry_run or not clearing else None
    if plan is not None and (dry_run or not plan.steps):
        return plan.steps + clearing
    # They import torch and all of Bridge, which takes many seconds.
    from megatron.bridge.training.utils.import_checks import check_root
    from megatron.bridge.training.utils.publishing import Publication

    check_root(path)
    publication = Publication(path, name)
    staging = publication.begin()
    filesystem = publication.filesystem
    try:
        # What dead processes left is gone, or taken back, and nobody else changes the root. A plan takes a reading of
        # all files: it is made again only where they are others by now.
        root = look(path)
        if plan is None or _stamps(root) != stamps:
            plan = make_plan(root)
        target = path / name
        if name in plan.retire:
            # What a run that died has published already; no tracker names it.
            _retire(filesystem, target, staging)
        if plan.publish:
            _link(filesystem, path / plan.source, staging / name)
            prepare(path, staging / name, plan)
            _write_trackers(staging, staging / name, tracker)
            if target.exists() and plan.source.startswith(name):
                # Readers find what they found before, or nothing as before, and from now on what is published.
                filesystem.sync(staging / TRACKER)
                filesystem.rename(staging / TRACKER, path / TRACKER)
                filesystem.sync(path)
                _write_trackers(staging, staging / name, tracker)
            publication.commit()
        for retired in plan.retire:
            if retired != name:
                _retire(filesystem, path / retired, staging)
    finally:
        publication.end()
    return plan.steps + clearing


def _stamps(root: Root) -> dict[Path, tuple[int, int, int]]:
    """Tell what changes where a file of a root's checkpoints, or a tracker, does."""
    folders = [root.path / name for name in (*root.checkpoints, *root.empty)]
    files = [folder / name for folder in folders for name in files_of(folder)]
    trackers = [file for file in (root.path / TRACKER, root.path / TRAIN_STATE_TRACKER) if file.exists()]
    stats = {file: file.stat() for file in files + trackers}
    return {file: (stat.st_ino, stat.st_size, stat.st_mtime_ns) for file, stat in stats.items()}


def _plan_repair(root: Root) -> Plan:
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


def _plan_revert(root: Root) -> Plan:
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


def _link(filesystem: "Filesystem", source: Path, target: Path) -> None:
    """Give a folder's files second names in a new folder."""
    filesystem.make_folder(target)
    made = {Path(".")}
    for name in map(Path, files_of(source)):
        for parent in reversed(name.parents):
            if parent not in made:
                filesystem.make_folder(target / parent)
                made.add(parent)
        try:
            filesystem.link(source / name, target / name)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP):
                raise
            raise ValueError(
                f"{source / name} can get no second name: its filesystem has no hard links, or it is another user's. "
                "Copy the root to where it can, then repair the copy."
            ) from error


def _retire(filesystem: "Filesystem", folder: Path, staging: Path) -> None:
    """Take a checkpoint folder out of the root at once; it is removed with the staging folder."""
    filesystem.rename(folder, staging / f"retired-{folder.name}")
    filesystem.sync(folder.parent)


def _write_trackers(staging: Path, folder: Path, tracker: str) -> None:
    (staging / TRACKER).write_text(tracker)
    shutil.copyfile(folder / TRAIN_STATE, staging / TRAIN_STATE_TRACKER)


def _complete(path: Path, folder: Path, plan: Plan) -> None:
    """Write what a release has and its source has not. A file that is replaced gets a new inode: the source stays."""
    from megatron.bridge.training.release_checkpoint import save_object, write_flags
    from megatron.bridge.training.state import TrainState
    from megatron.bridge_release.integrity import write_manifest

    common = _load_common_state(folder, plan.reads_common_state)
    if plan.derive:
        common["args"] = _derive_args(path, path / plan.source)
    elif plan.move_tokenizer:
        # The args among the tensors keep the old place: no reader takes them where there is a common.pt.
        common["args"].tokenizer_model = _tokenizer_of(path)
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
    """Take away what a release adds to upstream's layout."""
    for name in (FLAGS_FILE, INTEGRITY_FILE, SOURCE_FILE, SUMS_FILE):
        (folder / name).unlink(missing_ok=True)
    if read_metadata(folder).common_entry() is not None:
        (folder / COMMON_STATE).unlink(missing_ok=True)


def _load_common_state(folder: Path, reads_file: bool) -> dict[str, Any]:
    """Load the common state, of plain values and Megatron Core's own classes alone (``weights_only``).

    A hook may have written ``common.pt`` with less in it than Megatron Core has stored among the tensors.
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


def _tokenizer_of(path: Path) -> str:
    """Tell where the tokenizer is, once the release is published."""
    return str(path.absolute() / RELEASE / TOKENIZER)


def _derive_args(path: Path, folder: Path) -> argparse.Namespace:
    """Make Megatron-LM's args from the run config. Nothing that it names is imported or called."""
    try:
        metadata = read_metadata(folder)
        args = _args_of_run_config(path, folder, metadata.tensors.get(EMBEDDING))
        problem = find_args_problem(vars(args), metadata)
    except (ArithmeticError, AttributeError, KeyError, TypeError) as error:
        problem = f"{type(error).__name__}: {error}"
    if problem is not None:
        raise ValueError(f"{folder / RUN_CONFIG} does not describe this model: {problem}. Import the model again.")
    return args


def _args_of_run_config(path: Path, folder: Path, embedding: Tensor | None) -> argparse.Namespace:
    from megatron.bridge.models.model_provider import ModelProviderMixin
    from megatron.bridge.training.release_checkpoint import release_args, warn_of_what_no_flag_gives

    config = load_yaml(folder / RUN_CONFIG)
    name = config["model"]["_target_"]
    providers = {f"{cls.__module__}.{cls.__qualname__}": cls for cls in _subclasses(ModelProviderMixin)}
    if name not in providers:
        raise ValueError(f"{folder / RUN_CONFIG} names the model {name!r}, which this Megatron-Bridge does not know.")
    # Its values are all in the config: nothing is to be computed.
    model: Any = object.__new__(providers[name])
    known = _known_objects()
    vars(model).update({key: _plain_value(value, known) for key, value in config["model"].items()})
    tokenizer = SimpleNamespace(**config["tokenizer"]) if config.get("tokenizer") else None
    args = release_args(model, "torch_dist", tokenizer, path)
    if (folder / TOKENIZER).is_dir():
        # What the run config names may be a folder, relative to where an import ran.
        args.tokenizer_model = _tokenizer_of(path)
    args.world_size = args.tensor_model_parallel_size * args.pipeline_model_parallel_size * args.context_parallel_size
    args.data_parallel_size = 1
    if embedding is not None and args.padded_vocab_size != embedding.shape[0]:
        # Upstream's imports pad as the model says, or not at all.
        args.padded_vocab_size = embedding.shape[0]
        args.make_vocab_size_divisible_by = model.make_vocab_size_divisible_by
    warn_of_what_no_flag_gives(model)
    return args


def _subclasses(cls: type) -> Iterator[type]:
    subclass: type
    for subclass in cls.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def _known_objects() -> dict[str, Any]:
    """Give the objects that a run config may name in what Megatron-LM's args are made of."""
    import torch
    import torch.nn.functional as F
    from megatron.core.activations import squared_relu
    from megatron.core.fusions.fused_bias_geglu import quick_gelu
    from megatron.core.models.gpt.gpt_layer_specs import get_gpt_decoder_block_spec

    from megatron.bridge.models.gpt_provider import default_layer_spec

    functions = (F.silu, squared_relu, quick_gelu, get_gpt_decoder_block_spec, default_layer_spec)
    return {
        **{f"{function.__module__}.{function.__name__}": function for function in functions},
        # What run configs call it depends on the version of torch.
        "torch.nn.functional.gelu": F.gelu,
        "torch._C._nn.gelu": F.gelu,
        **{f"torch.{name}": getattr(torch, name) for name in ("bfloat16", "float16", "float32")},
    }


def _plain_value(value: Any, known: dict[str, Any]) -> Any:
    """Give the value of a run config's entry; of an object that is not known, its name."""
    if isinstance(value, dict) and "_target_" in value:
        return value.get("_name_", known.get(value["_target_"], value["_target_"]))
    return value
