# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The flags and the command that start Megatron-LM from a checkpoint directory."""

import os
import re
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

from megatron.bridge.release.checkpoint_dir import find_import, read_checkpoint_dir
from megatron.bridge.release.errors import CorruptFileError, MissingReleaseError
from megatron.bridge.release.layout import (
    COMMON_STATE,
    INTEGRITY_FILE,
    METADATA,
    TOKENIZER,
    TRACKER,
    iteration_directory,
    tracked_directory,
)
from megatron.bridge.release.manifest import digests, read_manifest
from megatron.bridge.release.megatron_args.comparison import (
    applied_rope_scaling_factor,
    check_args,
    in_current_names,
)
from megatron.bridge.release.megatron_args.errors import ArgsError, UnknownRopeFactorError
from megatron.bridge.release.megatron_args.flag_format import megatron_lm_flags
from megatron.bridge.release.megatron_args.flag_table import MODEL_ARGUMENTS, tables_of
from megatron.bridge.release.rope_factor import ENTRY_POINT, ENTRY_POINT_FLAG
from megatron.bridge.release.source.provenance import read_source
from megatron.bridge.release.validation.families import unsupported_family
from megatron.bridge.release.verify.args import find_args_problem, trained_differences
from megatron.bridge.release.verify.dcp_metadata import read_args
from megatron.bridge.release.verify.errors import (
    ChangedArgsError,
    DamagedCheckpointError,
    UnrecordedFactor,
    UnsafeFlags,
    UnusableArgsError,
)
from megatron.bridge.release.verify.findings import (
    FileProblem,
    InterruptedOverwrite,
    IterationZero,
    MissingCheckpoint,
    MissingTracker,
    Status,
    UnsupportedFamily,
)


# Some models allow 131,072 tokens: too long for the memory of a first training.
SEQ_LENGTH = 4096

# From core 0.16 on, Megatron-LM has no default for the last two; without the first it refuses --save.
RUN_FLAGS = ("--save-interval", "500", "--eval-interval", "500", "--eval-iters", "0")

# Flags that a shell passes on unchanged from $(...); none is a glob.
_PLAIN = re.compile(r"[\w@%+=:,./|*()\[\]-]+")


@dataclass(frozen=True)
class Launch:
    """How to start Megatron-LM.

    Attributes:
        flags: Arguments for the model, its tokenizer, loading the checkpoint directory, and a run.
        differences: Value and the release's value of each argument that a training has changed; the flags have the first.
    """

    flags: list[str]
    differences: dict[str, tuple[Any, Any]]


def find_launch(root: Path, release: Path) -> Launch:
    """Return how to start Megatron-LM from the checkpoint that the tracker names.

    Args:
        root: Checkpoint directory.
        release: Release that its checkpoints belong to.

    Raises:
        ReleaseError: If Megatron-LM cannot start from it.
    """
    found = read_checkpoint_dir(root)
    repair = root if find_import(found) is not None else None
    if found.tracker is None:
        raise DamagedCheckpointError(MissingTracker(root, found.checkpoints, repair))
    name = tracked_directory(found.tracker, str(root / TRACKER))
    if found.replaced is not None:
        raise DamagedCheckpointError(InterruptedOverwrite(root, found.replaced))
    if name in found.empty:
        raise DamagedCheckpointError(FileProblem(root / name / METADATA, "missing", None, None))
    if name not in found.checkpoints:
        raise DamagedCheckpointError(MissingCheckpoint(root, name, found.checkpoints, repair))
    if name == iteration_directory(0):
        raise DamagedCheckpointError(IterationZero(root))
    _require_unchanged(release)
    return launch_flags(root, root / name, release)


def launch_flags(root: Path, folder: Path, release: Path) -> Launch:
    """Return the flags with which Megatron-LM starts from a checkpoint, made from the args that it contains.

    A training may have changed the model's function: the flags then describe the trained model.

    Args:
        root: Checkpoint directory; the flags name its absolute path.
        folder: Checkpoint that the tracker names.
        release: Release that it belongs to.

    Raises:
        ReleaseError: If there is no release, if the args of one of them cannot be read, or if no flags express how the
            checkpoint was trained.
    """
    # Megatron-LM starts in its own directory.
    root, release = Path(os.path.abspath(root)), Path(os.path.abspath(release))
    if not release.is_dir() or not release.resolve().is_relative_to(release.parent.resolve()):
        raise MissingReleaseError(root, "checkpoint")
    if (family := find_unsupported_family(release)) is not None:
        raise DamagedCheckpointError(family)
    args = _read(release, None)
    differences: dict[str, tuple[Any, Any]] = {}
    if not folder.samefile(release):
        args, differences = _trained(args, folder, release)
    args.seq_length = min(
        length or SEQ_LENGTH for length in (args.seq_length, args.max_position_embeddings, SEQ_LENGTH)
    )
    flags = megatron_lm_flags(args)
    if unsafe := [flag for flag in flags if not _PLAIN.fullmatch(flag)]:
        raise UnusableArgsError(folder, UnsafeFlags(tuple(unsafe)), release)
    if (release / TOKENIZER).is_dir():
        flags += ["--tokenizer-type", "HuggingFaceTokenizer", "--tokenizer-model", str(release / TOKENIZER)]
    return Launch([*flags, "--load", str(root), "--exit-on-missing-checkpoint", *RUN_FLAGS], differences)


def launch_command(flags: list[str]) -> list[str]:
    """Return the command that starts Megatron-LM with these flags, in Megatron-LM's directory."""
    module = ["-m", ENTRY_POINT] if ENTRY_POINT_FLAG in flags else []
    return ["torchrun", *module, "pretrain_gpt.py", *flags]


def find_unsupported_family(release: Path) -> UnsupportedFamily | None:
    """Return that Megatron-LM does not compute the source model of a release; None if it does, or if it is unknown.

    Raises:
        CorruptFileError: If the record of the source model is corrupt.
    """
    record = read_source(release)
    model_type = (record.config or {}).get("model_type") if record is not None else None
    if isinstance(model_type, str) and (reason := unsupported_family(model_type)):
        return UnsupportedFamily(model_type, reason)
    return None


def _require_unchanged(release: Path) -> None:
    """Require that the files which the command depends on match the manifest of the release, if it has one."""
    manifest = release / INTEGRITY_FILE
    if not manifest.is_file():
        return
    try:
        expected = read_manifest(release)
    except ValueError as error:
        raise DamagedCheckpointError(FileProblem(manifest, "corrupt", str(error), release.parent)) from error
    used = [name for name in expected if name == COMMON_STATE or name.startswith(f"{TOKENIZER}/")]
    found = digests(release, [name for name in used if (release / name).is_file()])
    for name in used:
        if found.get(name) != expected[name]:
            reason = "checksum mismatch" if name in found else None
            repair = release.parent if name == COMMON_STATE else None
            status: Status = "corrupt" if name in found else "missing"
            raise DamagedCheckpointError(FileProblem(release / name, status, reason, repair))


def _read(folder: Path, release: Path | None) -> Namespace:
    """Return the args of a checkpoint; its release has flags for the advice of an error."""
    try:
        args = read_args(folder)
        if (problem := find_args_problem(args, None)) is not None:
            raise UnusableArgsError(folder, problem, release)
        found = Namespace(**args)
        check_args(found)
    except (CorruptFileError, ArgsError) as error:
        raise UnusableArgsError(folder, error, release) from error
    return found


def _trained(release_args: Namespace, folder: Path, release: Path) -> tuple[Namespace, dict[str, tuple[Any, Any]]]:
    """Return the release's args with the changes of a training, and these changes."""
    trained = _read(folder, release)
    try:
        trained.rope_scaling_factor = applied_rope_scaling_factor(trained)
    except UnknownRopeFactorError as error:
        raise UnusableArgsError(folder, UnrecordedFactor(error.factor), release) from error
    differences = trained_differences(trained, release_args)
    has_same_rows = trained.padded_vocab_size == release_args.padded_vocab_size
    if not has_same_rows:
        differences["padded_vocab_size"] = (trained.padded_vocab_size, release_args.padded_vocab_size)
    current = in_current_names(trained)
    args = Namespace(**vars(release_args) | {name: getattr(current, name, None) for name in differences})
    types = {argument.name: argument.types for table in tables_of(args) for argument in table}
    inexpressible = {
        name: values
        for name, values in differences.items()
        if name not in MODEL_ARGUMENTS or not isinstance(getattr(args, name), (types.get(name, object), NoneType))
    }
    inexpressible |= trained_differences(trained, args)
    # Another tensor parallelism pads to other rows. Another vocabulary belongs to another tokenizer than the release's.
    if trained.vocab_size != release_args.vocab_size and not (trained.vocab_size is None and has_same_rows):
        inexpressible["vocab_size"] = (trained.vocab_size, release_args.vocab_size)
    if inexpressible:
        raise ChangedArgsError(folder, inexpressible, release)
    return args, differences
