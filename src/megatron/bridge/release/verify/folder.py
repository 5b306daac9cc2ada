# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Checks the files of one checkpoint, without torch. Each function adds what it finds to the report."""

import json
from argparse import Namespace
from contextlib import suppress
from pathlib import Path
from typing import Any

from tqdm import tqdm

from megatron.bridge.release.checkpoint_dir import CheckpointDir, read_run_config
from megatron.bridge.release.errors import CorruptFileError, MissingReleaseError, one_line, shell_option
from megatron.bridge.release.layout import (
    ADDED_FILES,
    COMMON_STATE,
    FLAGS_FILE,
    FORMAT_FILE,
    INTEGRITY_FILE,
    ITERATION_FOLDER,
    METADATA,
    RELEASE,
    RUN_CONFIG,
    SOURCE_FILE,
    TOKENIZER,
    TRAIN_STATE,
    TRAIN_STATE_TRACKER,
    UPSTREAM_FILES,
    WRITTEN_BY_REPAIR,
)
from megatron.bridge.release.manifest import digests, files_of, read_manifest
from megatron.bridge.release.rope_factor import is_factor_ignored
from megatron.bridge.release.source.provenance import read_source, source_from_run_config
from megatron.bridge.release.verify.args import describe_training, find_args_problem
from megatron.bridge.release.verify.dcp_metadata import (
    Metadata,
    read_args,
    read_embedded_common_state,
    read_metadata,
    read_state,
    verify_entries,
)
from megatron.bridge.release.verify.findings import (
    IgnoredRopeFactor,
    IterationZero,
    MissingContent,
    MissingManifest,
    MovedTokenizer,
    NotACheckpoint,
    OutsideSymlink,
    SpecialFiles,
    TrainStateTracker,
    UnknownSourceModel,
    UnlistedFiles,
    UnsupportedByReader,
    UnsupportedFormat,
    WaivedLoss,
    WrongArgs,
)
from megatron.bridge.release.verify.launch import find_unsupported_family, launch_flags
from megatron.bridge.release.verify.report import BRIDGE, MEGATRON_LM, OLDER_MEGATRON_LM, UPSTREAM, File, Report


# The files that a repair writes, whatever is in them.


def check_files(report: Report, root: CheckpointDir, release: Path | None = None) -> None:
    """Check the checkpoint that a report names. Raise OSError if it cannot be read.

    Args:
        report: Report that gets the findings.
        root: Checkpoint directory.
        release: Release that the checkpoint belongs to; None if it is in the checkpoint directory.
    """
    release = release or root.path / RELEASE
    match = ITERATION_FOLDER.fullmatch(report.folder or "")
    report.layout = "release" if match is None else "import" if int(match[1]) == 0 else "training"
    if not _is_checkpoint(report):
        return
    report.files = {name: File(name, (report.path / name).stat().st_size) for name in files_of(report.path)}
    _check_format(report)
    metadata = _check_metadata(report)
    if not _check_checksums(report, metadata):
        _check_tensors(report, metadata)
    args = _read_args(report, metadata)
    _check_args(report, args, metadata)
    if report.layout == "training":
        _describe_training(report, args, metadata, release)
    else:
        _check_imported_files(report)
    if report.layout == "release":
        _check_release_files(report, root)
        report.mark_unreadable(UnsupportedByReader(None, None), UPSTREAM)
    if report.layout == "import":
        report.add_problem(IterationZero(root.path), MEGATRON_LM, OLDER_MEGATRON_LM)
    else:
        # What keeps Megatron-LM from starting is among the problems and notes.
        with suppress(ValueError):
            report.launch = launch_flags(root.path, report.path, release).flags


def _is_checkpoint(report: Report) -> bool:
    """Return whether a directory contains a checkpoint of regular files."""
    path = report.path
    if not path.resolve().is_relative_to(report.root.resolve()):
        report.add_problem(OutsideSymlink(path))
    elif special := [file for file in path.rglob("*") if file.is_symlink() or not (file.is_file() or file.is_dir())]:
        report.add_problem(SpecialFiles(path, tuple(sorted(str(file.relative_to(path)) for file in special))))
    elif not (path / METADATA).exists() and not (path / FORMAT_FILE).exists():
        report.add_problem(NotACheckpoint(path))
    else:
        return True
    return False


def _exists(report: Report, name: str) -> bool:
    """Return whether a file is in the checkpoint, not only in its manifest or metadata."""
    return name in report.files and report.files[name].size is not None


def _check_format(report: Report) -> None:
    if FORMAT_FILE not in report.files:
        report.add_file_problem(FORMAT_FILE, "missing", None)
        return
    try:
        backend = json.loads((report.path / FORMAT_FILE).read_text(encoding="utf-8"))["sharded_backend"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        report.add_file_problem(FORMAT_FILE, "corrupt", one_line(error))
        return
    if backend != "torch_dist":
        report.add_problem(UnsupportedFormat(report.path / FORMAT_FILE, backend))


def _check_metadata(report: Report) -> Metadata | None:
    """Return the metadata, and compare the sizes that it implies; None if it cannot be used."""
    if METADATA not in report.files:
        report.add_file_problem(METADATA, "missing", None)
        return None
    try:
        metadata = read_metadata(report.path)
    except CorruptFileError as error:
        report.add_file_problem(METADATA, "corrupt", error.reason)
        return None
    if keys := metadata.keys_without_storage():
        report.add_file_problem(METADATA, "corrupt", f"no storage entry for {', '.join(keys[:3])}")
    for name, size in metadata.sizes().items():
        if Path(name).name != name:
            report.add_file_problem(METADATA, "corrupt", f"names a file outside the checkpoint, {name!r}")
            return None
        file = report.files.setdefault(name, File(name, None))
        file.expected_size = size
        if file.size is None:
            report.add_file_problem(name, "missing", None)
        elif file.size != size:
            reason = f"{file.size} bytes, expected {size}"
            report.add_file_problem(name, "truncated" if file.size < size else "corrupt", reason)
    return metadata


def _check_checksums(report: Report, metadata: Metadata | None) -> bool:
    """Compare the files with the manifest; return False if there is none that can be used."""
    if INTEGRITY_FILE not in report.files:
        if report.layout == "release":
            # No reader needs it.
            report.problems.append(MissingManifest(report.path / INTEGRITY_FILE, report.root))
        return False
    try:
        expected = read_manifest(report.path)
    except (ValueError, OSError) as error:
        report.add_file_problem(INTEGRITY_FILE, "corrupt", one_line(error), repairable=True)
        return False
    unlisted = sorted(report.files.keys() - expected.keys() - {INTEGRITY_FILE})
    # The manifest that Megatron Core writes for a training lists only the files of Megatron Core.
    if unlisted and report.layout != "training":
        names = {COMMON_STATE, *UPSTREAM_FILES, *ADDED_FILES} | (metadata.sizes().keys() if metadata else set())
        for name in unlisted:
            if name in names or name.startswith(f"{TOKENIZER}/"):
                report.add_file_problem(INTEGRITY_FILE, "corrupt", f"does not list {name}", repairable=True)
                return False
        report.notes.append(UnlistedFiles(report.path, tuple(unlisted)))
    existing = sorted(name for name in expected if _exists(report, name))
    for name in sorted(expected.keys() - set(existing)):
        repairable = name in WRITTEN_BY_REPAIR or name == TRAIN_STATE
        report.add_file_problem(name, "missing", None, repairable=repairable)
    for name, digest in digests(report.path, existing).items():
        report.files[name].is_verified = digest == expected[name]
        if digest != expected[name]:
            reason = digest.strerror if isinstance(digest, OSError) else "checksum mismatch"
            report.add_file_problem(name, "corrupt", reason, repairable=name in WRITTEN_BY_REPAIR)
    return True


def _check_tensors(report: Report, metadata: Metadata | None) -> None:
    """Read the tensors of undamaged files, and compare the checksums that ``torch.save`` puts next to them."""
    entries = [entry for entry in metadata.entries if report.files[entry.file].status == "ok"] if metadata else []
    total = sum(entry.length for entry in entries)
    with tqdm(desc="tensors", total=total, unit="B", unit_scale=True, disable=None, leave=False) as progress:
        for entry, damage in verify_entries(report.path, entries):
            progress.update(entry.length)
            if damage is not None:
                report.add_file_problem(entry.file, "corrupt", f"{entry.key}: {damage}")


def _read_args(report: Report, metadata: Metadata | None) -> dict[str, Any]:
    """Return Megatron-LM's args, from ``common.pt`` or the common state among the tensors; empty if there are none."""
    common: Any = None
    if _exists(report, COMMON_STATE):
        try:
            common = read_state(report.path)
        except CorruptFileError as error:
            report.add_file_problem(COMMON_STATE, "corrupt", error.reason, repairable=True)
    else:
        report.mark_unreadable(UnsupportedByReader(COMMON_STATE, None), OLDER_MEGATRON_LM)
        if report.layout == "release":
            report.add_file_problem(COMMON_STATE, "missing", None, OLDER_MEGATRON_LM, repairable=True)
    if common is None and metadata is not None:
        try:
            common = read_embedded_common_state(report.path, metadata)
        except CorruptFileError as error:
            entry = metadata.common_entry()
            assert entry is not None
            report.add_file_problem(entry.file, "corrupt", f"{entry.key}: {error.reason}")
    args = common.get("args") if isinstance(common, dict) else None
    return dict(vars(args)) if isinstance(args, Namespace) else {}


def _check_args(report: Report, args: dict[str, Any], metadata: Metadata | None) -> None:
    report.args = len(args) or None
    report.args_problem = find_args_problem(args, metadata)
    if report.layout == "training" and not args:
        report.notes.append(MissingContent("args"))
    elif report.layout == "training" and report.args_problem is not None:
        report.notes.append(WrongArgs(report.path, report.args_problem, None))
    elif report.layout == "release" and report.args_problem is not None:
        problem = WrongArgs(report.path, report.args_problem, report.root)
        report.add_problem(problem, MEGATRON_LM, OLDER_MEGATRON_LM)
    if is_factor_ignored(args.get("use_rope_scaling"), args.get("rope_scaling_factor")):
        report.notes.append(IgnoredRopeFactor(args["rope_scaling_factor"]))
    tokenizer = args.get("tokenizer_model")
    # Another relative path may be a model ID.
    if not isinstance(tokenizer, str) or not (
        Path(tokenizer).is_absolute() or tokenizer.endswith(f"{RELEASE}/{TOKENIZER}")
    ):
        return
    if not (Path(tokenizer).is_absolute() and Path(tokenizer).exists()):
        report.has_moved_tokenizer = report.layout == "release" and (report.path / TOKENIZER).is_dir()
        report.notes.append(MovedTokenizer(tokenizer, report.root if report.has_moved_tokenizer else None))


def _describe_training(report: Report, args: dict[str, Any], metadata: Metadata | None, release: Path) -> None:
    """Report what a training has changed, and what Bridge takes from the release that it started from."""
    with suppress(CorruptFileError):
        released = read_args(release)
        if report.args_problem is None and find_args_problem(released, None) is None:
            report.notes += describe_training(args, released, metadata)
    # Problems of the release are none of this checkpoint.
    with suppress(CorruptFileError):
        source = read_source(report.root / RELEASE)
        report.source_model = None if source is None else source.model
    if _exists(report, RUN_CONFIG):
        _check_run_config(report)
        return
    if not (release / RUN_CONFIG).exists():
        advice = (
            f"{RELEASE}/ contains none."
            if release.is_dir()
            else MissingReleaseError(report.root, "checkpoint").text(shell_option)
        )
        report.mark_unreadable(UnsupportedByReader(RUN_CONFIG, advice), BRIDGE)
    report.mark_unreadable(UnsupportedByReader(RUN_CONFIG, None), UPSTREAM)


def _check_imported_files(report: Report) -> None:
    """Check the files that Bridge adds to a checkpoint of Megatron Core."""
    if _exists(report, RUN_CONFIG):
        _check_run_config(report)
    else:
        report.add_file_problem(RUN_CONFIG, "missing", None, BRIDGE, UPSTREAM)
    if not _exists(report, TRAIN_STATE):
        report.add_file_problem(TRAIN_STATE, "missing", None, BRIDGE, UPSTREAM, repairable=True)
    else:
        try:
            if not isinstance(read_state(report.path, TRAIN_STATE).get("step"), int):
                raise CorruptFileError(TRAIN_STATE, "it has no step")
        except CorruptFileError as error:
            report.add_file_problem(TRAIN_STATE, "corrupt", error.reason, BRIDGE, UPSTREAM)
    names = [name for name in report.files if name.startswith(f"{TOKENIZER}/") and _exists(report, name)]
    for name in (name for name in names if name.endswith(".json")):
        try:
            json.loads((report.path / name).read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            report.add_file_problem(name, "corrupt", one_line(error), BRIDGE, UPSTREAM)
    if not names:
        report.notes.append(MissingContent("tokenizer"))


def _check_run_config(report: Report) -> None:
    try:
        config = read_run_config(report.path)
        if not isinstance(config, dict) or not isinstance(config.get("model"), dict):
            raise CorruptFileError(RUN_CONFIG, "it has no mapping 'model'")
    except CorruptFileError as error:
        report.add_file_problem(RUN_CONFIG, "corrupt", error.reason, BRIDGE, UPSTREAM)


def _check_release_files(report: Report, root: CheckpointDir) -> None:
    """Check the files that a release adds to an import."""
    if not _exists(report, FLAGS_FILE):
        report.add_file_problem(FLAGS_FILE, "missing", None, MEGATRON_LM, repairable=True)
    tracker = root.path / TRAIN_STATE_TRACKER
    if not root.has_train_state:
        report.add_problem(TrainStateTracker(tracker, True, root.path), BRIDGE)
    elif _exists(report, TRAIN_STATE) and tracker.read_bytes() != (report.path / TRAIN_STATE).read_bytes():
        report.add_problem(TrainStateTracker(tracker, False, root.path), BRIDGE)
    try:
        source = read_source(report.path)
    except CorruptFileError as error:
        report.add_file_problem(SOURCE_FILE, "corrupt", error.reason, repairable=True)
        return
    if source is not None:
        report.source_model = source.model
        if (family := find_unsupported_family(report.path)) is not None:
            report.mark_unreadable(family, MEGATRON_LM, OLDER_MEGATRON_LM)
        report.notes += [WaivedLoss(text) for text in source.waived]
    else:
        is_recorded = source_from_run_config(report.path) is not None
        report.notes.append(UnknownSourceModel(report.path, root.path if is_recorded else None))
