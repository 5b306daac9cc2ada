# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Errors of comparing a release with its source model.

Importing this module imports neither torch nor Megatron Core.
"""

from dataclasses import dataclass
from pathlib import Path

from megatron.bridge.release.errors import OptionFormat, ReleaseError, command_line


@dataclass(eq=False)
class UnknownSourceError(ReleaseError):
    """A release does not record its source model, or the record is corrupt."""

    root: Path
    model: str
    problem: str | None

    def text(self, option: OptionFormat) -> str:
        repair = f"To record it from run_config.yaml, run: {command_line('repair', self.root)}"
        if self.problem is not None:
            return f"The source model of {self.root} is unknown: {self.problem}. {repair}"
        return f"The release in {self.root} does not record its source model, which may not be {self.model}. {repair}"


@dataclass(eq=False)
class SourceChangedError(ReleaseError):
    """The source model of a release has changed since the import.

    Attributes:
        root: Checkpoint directory.
        model: The model.
        differences: What differs, such as ``weights`` or ``config fields: rope_theta``.
    """

    root: Path
    model: str
    differences: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        return (
            f"{self.model} has changed since {self.root} was imported from it (different "
            f"{' and '.join(self.differences)}). Restore the model, or pass another checkpoint directory."
        )


@dataclass(eq=False)
class SourceMismatchError(ReleaseError):
    """A release was imported from another model.

    Attributes:
        root: Checkpoint directory.
        recorded: The source model.
        model: The model that the user passed.
        differences: What differs, as far as it is known.
    """

    root: Path
    recorded: str
    model: str
    differences: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        differing = f" (different {' and '.join(self.differences)})" if self.differences else ""
        return (
            f"{self.root} was imported from {self.recorded}, not from {self.model}{differing}. Pass the source model, or "
            "another checkpoint directory."
        )
