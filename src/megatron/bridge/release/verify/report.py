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

"""The report of a check: what it found, and which readers that concerns."""

from dataclasses import dataclass, field


MEGATRON_LM = "Megatron-LM, megatron-core 0.19"
OLDER_MEGATRON_LM = "Megatron-LM, megatron-core 0.14 to 0.18"
BRIDGE = "Megatron-Bridge, this fork"
UPSTREAM = "Megatron-Bridge 0.6.2, upstream's"


@dataclass
class File:
    """A file of the checkpoint folder.

    Attributes:
        name: Its path in the folder.
        size: Its size in bytes; None if it is missing.
        expected: The size that the metadata gives, in bytes; None if it gives none.
        verified: Whether its checksum was compared, and is right.
        problem: What is wrong with it; None if nothing is.
    """

    name: str
    size: int | None
    expected: int | None = None
    verified: bool = False
    problem: str | None = None


@dataclass
class Reader:
    """A program that may load the checkpoint.

    Attributes:
        name: Its name.
        loads: Whether it can load the checkpoint.
        why: Why it cannot; empty if it can.
    """

    name: str
    loads: bool = True
    why: str = ""


@dataclass
class Report:
    """The result of a check.

    Attributes:
        root: The checkpoint root.
        layout: ``release``, ``training`` (an iteration over 0) or ``import`` (upstream's ``iter_0000000``); None if
            no folder was checked.
        tracker: Text of the tracker; None if there is none.
        folder: Path, in the root, of the checkpoint folder that was checked; None if there was none to check.
        files: Its files.
        source_model: The source model; None if it is not recorded.
        args: Number of Megatron-LM's args in it; None if there are none.
        readers: Who can load it.
        launch: Words of the command line with which Megatron-LM starts from it; empty if there are no flags for it.
        args_problem: What is wrong with the args; None if nothing is.
        tokenizer_moved: Whether the args name a path for the tokenizer that is no longer there.
        problems: What is wrong, each with what to do; the checkpoint loads if there are none.
        beyond_repair: Those of them that a repair cannot fix.
        notes: What is worth knowing.
    """

    root: str
    layout: str | None = None
    tracker: str | None = None
    folder: str | None = None
    files: list[File] = field(default_factory=list)
    source_model: str | None = None
    args: int | None = None
    readers: list[Reader] = field(
        default_factory=lambda: [Reader(name) for name in (MEGATRON_LM, OLDER_MEGATRON_LM, BRIDGE, UPSTREAM)]
    )
    launch: list[str] = field(default_factory=list)
    args_problem: str | None = None
    tokenizer_moved: bool = False
    problems: list[str] = field(default_factory=list)
    beyond_repair: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether the checkpoint loads, in the readers that its layout is for, and is what it was compared with."""
        return not self.problems

    def add_problem(self, text: str, *readers: str) -> None:
        """Add a problem, because of which readers cannot load the checkpoint.

        Args:
            text: What is wrong, and what to do.
            readers: Names of those readers; all of them if none is named.
        """
        self.problems.append(text)
        self.stop(text, *(readers or (MEGATRON_LM, OLDER_MEGATRON_LM, BRIDGE, UPSTREAM)))

    def stop(self, why: str, *names: str) -> None:
        """Record why readers cannot load the checkpoint; of several reasons, the first is kept.

        Args:
            why: The reason.
            names: Names of the readers.
        """
        for reader in self.readers:
            if reader.name in names and reader.loads:
                reader.loads, reader.why = False, why
