# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The report of a check: the files, the findings, and which readers can load the checkpoint.

Importing this module imports neither torch nor Megatron Core.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from megatron.bridge.release.verify.errors import ArgsProblem
from megatron.bridge.release.verify.findings import FileProblem, Finding, Status


MEGATRON_LM = "Megatron-LM, megatron-core 0.19"
OLDER_MEGATRON_LM = "Megatron-LM, megatron-core 0.14 to 0.18"
BRIDGE = "Megatron-Bridge, this fork"
UPSTREAM = "Megatron-Bridge 0.6.2, upstream's"
READERS = (MEGATRON_LM, OLDER_MEGATRON_LM, BRIDGE, UPSTREAM)


@dataclass
class File:
    """A file of a checkpoint.

    Attributes:
        name: Path in the checkpoint.
        size: Size in bytes; None if the file is missing.
        expected_size: Size that the metadata implies, in bytes; None if it implies none.
        is_verified: Whether its checksum matches.
    """

    name: str
    size: int | None
    expected_size: int | None = None
    is_verified: bool = False
    status: Literal["ok"] | Status = "ok"


@dataclass
class Reader:
    """A program that may load the checkpoint, and why it cannot; None if it can."""

    name: str
    reason: Finding | None = None


@dataclass
class Report:
    """The result of a check.

    Attributes:
        root: Checkpoint directory.
        layout: ``release``, ``training`` (an iteration over 0) or ``import`` (upstream's ``iter_0000000``); None if no
            checkpoint was checked.
        tracker: Text of the tracker; None if there is none.
        folder: Path, in the checkpoint directory, of the checkpoint that was checked; None if there was none.
        files: Its files, by their paths.
        source_model: The source model; None if it is not recorded.
        args: Number of Megatron-LM's args in the checkpoint; None if there are none.
        launch: Flags with which Megatron-LM starts from the checkpoint; empty if it cannot.
        args_problem: What is wrong with the args; None if nothing is.
        has_moved_tokenizer: Whether the args name a path of the release's tokenizer that no longer exists.
    """

    root: Path
    layout: Literal["release", "training", "import"] | None = None
    tracker: str | None = None
    folder: str | None = None
    files: dict[str, File] = field(default_factory=dict)
    source_model: str | None = None
    args: int | None = None
    readers: list[Reader] = field(default_factory=lambda: [Reader(name) for name in READERS])
    launch: list[str] = field(default_factory=list)
    args_problem: ArgsProblem | None = None
    has_moved_tokenizer: bool = False
    problems: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)

    @property
    def path(self) -> Path:
        """Path of the checkpoint that was checked."""
        return self.root / (self.folder or "")

    @property
    def passed(self) -> bool:
        """Whether the checkpoint loads, in the readers that its layout is for, and no comparison found a difference."""
        return not self.problems

    @property
    def unrepairable(self) -> list[Finding]:
        """The problems that a repair cannot fix."""
        return [problem for problem in self.problems if not problem.is_repairable]

    def add_problem(self, problem: Finding, *readers: str) -> None:
        """Add a problem that keeps readers, all of them by default, from loading the checkpoint."""
        self.problems.append(problem)
        self.mark_unreadable(problem, *(readers or READERS))

    def add_file_problem(
        self, name: str, status: Status, reason: str | None, *readers: str, repairable: bool = False
    ) -> None:
        """Add a problem of a file, unless it has one already. A repair writes no file of a training's checkpoint."""
        file = self.files.setdefault(name, File(name, None))
        if file.status == "ok":
            file.status = status
            repair = self.root if repairable and self.layout != "training" else None
            self.add_problem(FileProblem(self.path / name, status, reason, repair), *readers)

    def mark_unreadable(self, reason: Finding, *readers: str) -> None:
        """Record why readers cannot load the checkpoint, unless there is a reason already."""
        for reader in self.readers:
            if reader.name in readers and reader.reason is None:
                reader.reason = reason
