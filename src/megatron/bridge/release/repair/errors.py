# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Errors of `repair`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from megatron.bridge.release.errors import OptionFormat, ReleaseError
from megatron.bridge.release.layout import COMMON_STATE, RELEASE, TRACKER


@dataclass(eq=False)
class TrainingError(ReleaseError):
    """A checkpoint directory contains checkpoints of a training."""

    root: Path
    checkpoints: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        return (
            f"{self.root} contains training checkpoints ({', '.join(self.checkpoints)}). repair only converts imports "
            "that no training has continued."
        )


@dataclass(eq=False)
class LostTrainingError(ReleaseError):
    """The tracker names a training checkpoint that does not exist."""

    root: Path
    iteration: int

    def text(self, option: OptionFormat) -> str:
        return (
            f"The tracker of {self.root} contains {self.iteration}, but the checkpoint of that training does not exist. "
            f"Restore it, or write '{RELEASE}' into {TRACKER} and run the repair again."
        )


@dataclass(eq=False)
class TrainedCheckpointError(ReleaseError):
    """A checkpoint was written by a training.

    Attributes:
        iteration: Its iteration; None if it contains optimizer state.
    """

    folder: Path
    iteration: int | None

    def text(self, option: OptionFormat) -> str:
        sign = "it contains optimizer state" if self.iteration is None else f"its iteration is {self.iteration}"
        return f"{self.folder} is a training checkpoint: {sign}. repair only converts imports."


@dataclass(eq=False)
class NothingToRepairError(ReleaseError):
    """A checkpoint directory contains no checkpoint."""

    root: Path
    leftovers: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        leftovers = (
            f", only leftovers of an interrupted import ({', '.join(self.leftovers)})" if self.leftovers else ""
        )
        return f"{self.root} contains no checkpoint{leftovers}. Import the model again, or pass another directory."


@dataclass(eq=False)
class SeveralCheckpointsError(ReleaseError):
    """A checkpoint directory contains more than one import."""

    root: Path
    checkpoints: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        return (
            f"{self.root} contains more than one checkpoint: {', '.join(self.checkpoints)}. Move away those that you do "
            "not want and run the repair again."
        )


@dataclass(eq=False)
class OtherFilesError(ReleaseError):
    """A directory that a repair removes contains other files.

    Attributes:
        names: The files next to a nested checkpoint; empty if there is no checkpoint in the directory.
    """

    folder: Path
    names: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        if not self.names:
            return f"{self.folder} contains files but no checkpoint. Move it away and run the repair again."
        return (
            f"{self.folder} contains {', '.join(self.names)} next to a checkpoint. Move them away and run the repair "
            "again."
        )


@dataclass(eq=False)
class UnloadableCommonStateError(ReleaseError):
    """torch cannot load ``common.pt``."""

    file: Path
    reason: str

    def text(self, option: OptionFormat) -> str:
        return f"{self.file} cannot be loaded ({self.reason}). Move {COMMON_STATE} away and run the repair again."


@dataclass(eq=False)
class RunConfigError(ReleaseError):
    """The run config yields no args that match the checkpoint."""

    file: Path
    reason: str
    kind: Literal["mismatch", "unknown model class"]

    def text(self, option: OptionFormat) -> str:
        if self.kind == "mismatch":
            return f"{self.file} does not match the checkpoint ({self.reason}). Import the model again."
        return f"Unknown model class {self.reason} in {self.file}. Install the Megatron-Bridge version that wrote it."
