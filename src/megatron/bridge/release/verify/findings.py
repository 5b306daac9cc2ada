# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Problems and notes that `check` reports about a checkpoint.

Importing this module imports neither torch nor Megatron Core.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from megatron.bridge.release.errors import Message, OptionFormat, command_line, error_text
from megatron.bridge.release.layout import INTEGRITY_FILE, RELEASE, TRACKER, TRAIN_STATE
from megatron.bridge.release.megatron_args.comparison import describe_differences
from megatron.bridge.release.rope_factor import BUILT_IN_ROPE_SCALING_FACTOR, ENTRY_POINT
from megatron.bridge.release.text import list_first
from megatron.bridge.release.verify.errors import ArgsProblem


Status = Literal["missing", "corrupt", "truncated"]

IMPORT_AGAIN = "Restore it from a copy, or import the model again."


def repair_advice(root: Path) -> str:
    """Return the sentence that introduces the repair of a checkpoint directory."""
    return f"To fix this, run: {command_line('repair', root)}"


class Finding(Message):
    """Base of what `check` reports."""

    @property
    def is_repairable(self) -> bool:
        """Whether `repair` still converts the checkpoint: a field ``repair`` that is None rules it out."""
        return getattr(self, "repair", True) is not None


@dataclass(eq=False)
class FailedStep(Finding):
    """A step of the check has raised an error."""

    step: str | None
    error: Exception

    def text(self, option: OptionFormat) -> str:
        reason = error_text(self.error, option)
        return reason if self.step is None else f"{self.step}: {reason}"


@dataclass(eq=False)
class NestedCheckpoint(Finding):
    """A checkpoint is inside another one."""

    root: Path
    name: str
    repair: Path | None

    def text(self, option: OptionFormat) -> str:
        advice = "Move one of the two away." if self.repair is None else repair_advice(self.repair)
        return f"{self.root} contains a checkpoint inside another checkpoint: {self.name}. {advice}"


@dataclass(eq=False)
class InterruptedOverwrite(Finding):
    """An import was killed between moving the old release away and publishing the new one."""

    root: Path
    backup: str

    def text(self, option: OptionFormat) -> str:
        return (
            f"{self.root} has no {RELEASE}/: an interrupted {option('overwrite')} left it in {self.backup}/. "
            + repair_advice(self.root)
        )


@dataclass(eq=False)
class MissingTracker(Finding):
    """The checkpoint directory has no tracker."""

    root: Path
    checkpoints: tuple[str, ...]
    repair: Path | None

    def text(self, option: OptionFormat) -> str:
        advice = "Import the model again, or pass another directory."
        if self.checkpoints:
            advice = f"Write 'release', or the number of the iter_* directory to load, into {TRACKER}."
        return (
            f"{self.root} has no {TRACKER}: Megatron-LM treats it as empty. {_found(self.checkpoints)} "
            f"{advice if self.repair is None else repair_advice(self.repair)}"
        )


@dataclass(eq=False)
class InvalidTracker(Finding):
    """The tracker contains neither ``release`` nor an iteration number."""

    error: ValueError
    checkpoints: tuple[str, ...]
    repair: Path | None

    def text(self, option: OptionFormat) -> str:
        repair = "" if self.repair is None else f" Or run: {command_line('repair', self.repair)}"
        return f"{error_text(self.error, option)} {_found(self.checkpoints)}{repair}"


@dataclass(eq=False)
class MissingCheckpoint(Finding):
    """The tracker names a checkpoint that does not exist."""

    root: Path
    name: str
    checkpoints: tuple[str, ...]
    repair: Path | None

    def text(self, option: OptionFormat) -> str:
        advice = "Restore the checkpoint, or import the model again."
        if self.checkpoints:
            advice = f"Restore the checkpoint, or write an existing one into {TRACKER}."
        return (
            f"The tracker of {self.root} names {self.name}, which does not exist. {_found(self.checkpoints)} "
            f"{advice if self.repair is None else repair_advice(self.repair)}"
        )


def _found(checkpoints: tuple[str, ...]) -> str:
    return f"Checkpoints found: {', '.join(checkpoints) or 'none'}."


@dataclass(eq=False)
class OutsideSymlink(Finding):
    """A checkpoint is a symlink to another directory."""

    folder: Path
    repair: None = None

    def text(self, option: OptionFormat) -> str:
        return (
            f"{self.folder} is a symlink that leads out of the checkpoint directory. Replace it with the checkpoint "
            "itself."
        )


@dataclass(eq=False)
class SpecialFiles(Finding):
    """A checkpoint contains symlinks, pipes or the like."""

    folder: Path
    names: tuple[str, ...]
    repair: None = None

    def text(self, option: OptionFormat) -> str:
        return (
            f"Symlinks or special files in {self.folder}: {list_first(self.names)}. Replace them with regular files."
        )


@dataclass(eq=False)
class NotACheckpoint(Finding):
    """A directory contains neither ``.metadata`` nor ``metadata.json``."""

    folder: Path
    repair: None = None

    def text(self, option: OptionFormat) -> str:
        return f"{self.folder} contains no checkpoint of the format torch_dist. Import the model again."


@dataclass(eq=False)
class UnsupportedFormat(Finding):
    """A checkpoint has another format than torch_dist."""

    file: Path
    backend: Any
    repair: None = None

    def text(self, option: OptionFormat) -> str:
        return (
            f"{self.file} declares the format {self.backend!r}; only torch_dist is supported. Import the model again."
        )


@dataclass(eq=False)
class FileProblem(Finding):
    """A file is missing, corrupt or truncated.

    Attributes:
        reason: How it was found; None for a missing file.
        repair: Checkpoint directory whose repair writes the file; None if only a copy helps.
    """

    file: Path
    status: Status
    reason: str | None
    repair: Path | None

    def text(self, option: OptionFormat) -> str:
        reason = "" if self.reason is None else f" ({self.reason})"
        advice = IMPORT_AGAIN if self.repair is None else repair_advice(self.repair)
        return f"{self.file} is {self.status}{reason}. {advice}"


@dataclass(eq=False)
class MissingManifest(Finding):
    """A release has no manifest."""

    file: Path
    repair: Path

    def text(self, option: OptionFormat) -> str:
        return (
            f"{self.file} is missing. Damaged files may go unnoticed, and Megatron-LM's --verify-integrity rejects the "
            f"release. {repair_advice(self.repair)}"
        )


@dataclass(eq=False)
class WrongArgs(Finding):
    """The args of a checkpoint are incomplete or do not match its tensors."""

    folder: Path
    problem: ArgsProblem
    repair: Path | None

    def text(self, option: OptionFormat) -> str:
        advice = "launch and export fail." if self.repair is None else repair_advice(self.repair)
        return f"{self.folder}: {self.problem}. {advice}"


@dataclass(eq=False)
class IterationZero(Finding):
    """The checkpoint is upstream's import (``iter_0000000``), not a release."""

    root: Path

    def text(self, option: OptionFormat) -> str:
        return (
            f"{self.root} contains an import of iteration 0, which Megatron-LM before core 0.16 refuses, and later "
            f"versions without --finetune. {repair_advice(self.root)}"
        )


@dataclass(eq=False)
class TrainStateTracker(Finding):
    """Bridge's tracker is missing or not the train state of the release."""

    file: Path
    is_missing: bool
    repair: Path

    def text(self, option: OptionFormat) -> str:
        problem = "is missing" if self.is_missing else f"differs from {RELEASE}/{TRAIN_STATE}"
        return f"{self.file} {problem}. {repair_advice(self.repair)}"


@dataclass(eq=False)
class UnsupportedByReader(Finding):
    """A reader does not support a checkpoint, which is no problem of the checkpoint."""

    missing_file: str | None
    advice: str | None

    def text(self, option: OptionFormat) -> str:
        problem = "does not support releases" if self.missing_file is None else f"{self.missing_file} is missing"
        return problem if self.advice is None else f"{problem}. {self.advice}"


@dataclass(eq=False)
class UnsupportedFamily(Finding):
    """A release was imported for Megatron-Bridge alone, which is no problem of the release."""

    model_type: str
    reason: str

    def text(self, option: OptionFormat) -> str:
        return (
            f"Megatron-LM cannot use this release. Its model type {self.model_type!r} is not supported: {self.reason}."
        )


@dataclass(eq=False)
class ActiveWriter(Finding):
    """Another process is writing into the checkpoint directory."""

    writer: str

    def text(self, option: OptionFormat) -> str:
        return (
            f"Another process is writing into the checkpoint directory ({self.writer}). This report may be outdated."
        )


@dataclass(eq=False)
class Leftovers(Finding):
    """A killed process has left files."""

    names: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        return f"Leftovers of an interrupted import: {', '.join(self.names)}. The next import or repair removes them."


@dataclass(eq=False)
class UnlistedFiles(Finding):
    """The manifest does not list all files."""

    folder: Path
    names: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        return f"Files of {self.folder} that {INTEGRITY_FILE} does not list: {list_first(self.names)}."


@dataclass(eq=False)
class MissingContent(Finding):
    """The checkpoint lacks something that flags can replace."""

    content: Literal["args", "tokenizer"]

    def text(self, option: OptionFormat) -> str:
        advice = {
            "args": "Pass all flags of the model to Megatron-LM.",
            "tokenizer": "Pass --tokenizer-type and --tokenizer-model.",
        }
        return f"The checkpoint contains no {self.content}. {advice[self.content]}"


@dataclass(eq=False)
class IgnoredRopeFactor(Finding):
    """Megatron-LM ignores the model's rope scaling factor."""

    factor: float

    def text(self, option: OptionFormat) -> str:
        return (
            f"Megatron-LM ignores --rope-scaling-factor={self.factor} and builds the model with "
            f"{BUILT_IN_ROPE_SCALING_FACTOR:g}. Start its scripts with -m {ENTRY_POINT}, as launch prints it."
        )


@dataclass(eq=False)
class MovedTokenizer(Finding):
    """The args name a tokenizer that is not there."""

    path: str
    repair: Path | None

    def text(self, option: OptionFormat) -> str:
        advice = "Pass --tokenizer-model." if self.repair is None else repair_advice(self.repair)
        return f"args.tokenizer_model is {self.path}, which does not exist. {advice}"


@dataclass(eq=False)
class WaivedLoss(Finding):
    """The import was allowed to lose something."""

    loss: str

    def text(self, option: OptionFormat) -> str:
        return f"Waived at import: {self.loss}"


@dataclass(eq=False)
class UnknownSourceModel(Finding):
    """The release does not record its source model."""

    folder: Path
    repair: Path | None

    def text(self, option: OptionFormat) -> str:
        problem = f"{self.folder} does not record its source model."
        return problem if self.repair is None else f"{problem} {repair_advice(self.repair)}"


@dataclass(eq=False)
class ChangedArgs(Finding):
    """A training has changed what the model computes.

    Attributes:
        differences: The value and the release's value of each argument.
    """

    differences: Mapping[str, tuple[Any, Any]]

    def text(self, option: OptionFormat) -> str:
        return (
            "The checkpoint was trained with other arguments than the release: "
            f"{describe_differences(dict(self.differences), 'release')}. An export writes them into config.json, or "
            "fails if a Hugging Face config cannot express them."
        )


@dataclass(eq=False)
class UnrecordedRopeFactor(Finding):
    """The checkpoint does not record which rope scaling factor its training applied."""

    factor: float

    def text(self, option: OptionFormat) -> str:
        return (
            f"The args contain rope_scaling_factor={self.factor}, which Megatron-LM's scripts ignore, and do not record "
            f"which factor the training applied. For an export, pass it with {option('rope_scaling_factor')}."
        )
