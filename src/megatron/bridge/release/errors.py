# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Errors and warnings: classes whose fields are the facts, each with its text in one place.

A class of a folder's errors is in that folder's ``errors.py``. `tests/unit/release/messages.txt` shows all texts.

Importing this module imports neither torch nor Megatron Core.
"""

import shlex
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from megatron.bridge.release.compat.checkpoint_format import ALLOCATION_FAILURE


# Formats the name of an option, such as ``overwrite``, for the reader of a message.
OptionFormat = Callable[[str], str]

# In Python, a switch is passed with its value.
_SWITCHES = ("overwrite", "release", "trust_remote_code")


def python_option(name: str) -> str:
    """Format an option as a keyword argument."""
    return f"{name}=True" if name in _SWITCHES else name


def shell_option(name: str) -> str:
    """Format an option as the command line spells it."""
    return f"--{name.replace('_', '-')}"


class Message:
    """Base of errors and warnings. A subclass is a dataclass of facts; `text` makes the message from them."""

    def text(self, option: OptionFormat) -> str:
        """Return the message in one line, with the options that it names in the caller's form."""
        raise NotImplementedError

    def __str__(self) -> str:
        """Return the message for a caller in Python."""
        return self.text(python_option)

    def __reduce__(self) -> Any:
        """Pickle the facts and the notes, so that an error can be sent to other ranks."""
        return _restore, (type(self), self.__dict__)


def _restore(cls: type["Message"], state: dict[str, Any]) -> "Message":
    message = cls.__new__(cls)
    message.__dict__.update(state)
    return message


class ReleaseError(Message, ValueError):
    """Base of the errors that a user can cause."""


class ReleaseWarning(Message, UserWarning):
    """Base of the warnings about a model or a release."""


@dataclass(eq=False)
class NotComputableError(ReleaseError):
    """This host cannot compute the model, so the logit check has no result."""

    reason: str

    def text(self, option: OptionFormat) -> str:
        return self.reason


@dataclass(eq=False)
class CorruptFileError(ReleaseError):
    """A file is corrupt.

    Attributes:
        file: Path of the file, or its name in the checkpoint.
        reason: What is wrong with it.
    """

    file: Path | str
    reason: str

    def text(self, option: OptionFormat) -> str:
        return f"{self.file} is corrupt: {self.reason}"


@dataclass(eq=False)
class InvalidTrackerError(ReleaseError):
    """A tracker contains neither ``release`` nor an iteration number."""

    file: str
    content: str

    def text(self, option: OptionFormat) -> str:
        return (
            f"The tracker {self.file} contains {self.content!r}, neither 'release' nor an iteration number. Write "
            "'release' into it, or the number of the iter_* directory to load."
        )


@dataclass(eq=False)
class NotCheckpointDirError(ReleaseError):
    """A path is not a directory."""

    path: Path
    kind: Literal["missing", "file", "dangling symlink"]

    def text(self, option: OptionFormat) -> str:
        state = "does not exist" if self.kind == "missing" else f"is a {self.kind}"
        return f"{self.path} {state}. Pass the checkpoint directory, which contains latest_checkpointed_iteration.txt."


@dataclass(eq=False)
class IterationDirError(ReleaseError):
    """An iteration directory was passed instead of its checkpoint directory."""

    path: Path
    checkpoint_dir: Path

    def text(self, option: OptionFormat) -> str:
        return f"{self.path} is an iteration directory. Pass the checkpoint directory: {self.checkpoint_dir}"


@dataclass(eq=False)
class NotRegularFileError(ReleaseError):
    """A file that must be a regular file is a symlink or something else."""

    path: Path

    def text(self, option: OptionFormat) -> str:
        return f"{self.path} is a symlink or not a regular file. Replace it with a regular file."


@dataclass(eq=False)
class ReleaseNotDirectoryError(ReleaseError):
    """A file, or a symlink to no directory, has the name of the release in a checkpoint directory."""

    path: Path

    def text(self, option: OptionFormat) -> str:
        return f"{self.path} is not a directory. Rename it, or use another checkpoint directory."


@dataclass(eq=False)
class MissingReleaseError(ReleaseError):
    """A checkpoint directory contains no release.

    Attributes:
        root: The checkpoint directory.
        role: Whether the user named it as that of the release, whether it is that of the checkpoint, or neither.
    """

    root: Path
    role: Literal["named", "checkpoint", "other"]

    def text(self, option: OptionFormat) -> str:
        advice = {
            "named": "Pass the checkpoint directory that the training started from.",
            # Only the command has this option.
            "checkpoint": "If the training started from another checkpoint directory, pass it with --release CKPT.",
            "other": "Pass another checkpoint directory.",
        }[self.role]
        return f"{self.root} contains no release. {advice}"


@dataclass(eq=False)
class TwoReleasesError(ReleaseError):
    """A checkpoint directory contains a release, and another one was named."""

    root: Path

    def text(self, option: OptionFormat) -> str:
        return f"{self.root} contains a release, to which its checkpoints belong. Remove --release."


@dataclass(eq=False)
class CheckpointDirBusyError(ReleaseError, RuntimeError):
    """Another process is writing into a checkpoint directory."""

    root: Path
    lock_owner: str

    def text(self, option: OptionFormat) -> str:
        return (
            f"{self.root} is locked by another process ({self.lock_owner}). Wait until it has finished, or use another "
            "checkpoint directory."
        )


def warn(warning: ReleaseWarning) -> None:
    """Issue a warning on rank 0."""
    # Imported here because it loads torch.
    from megatron.bridge.release.compat.megatron_core_api import safe_get_rank

    if safe_get_rank() == 0:
        warnings.warn(warning, stacklevel=3)


def one_line(error: BaseException) -> str:
    """Return an error's type and message in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'}"


def error_text(error: BaseException, option: OptionFormat) -> str:
    """Return an error in one line: the message of an error for users, the type and the message of any other."""
    text = error.text(option) if isinstance(error, Message) else str(error)
    return " ".join(text.split()) if text and isinstance(error, (ValueError, OSError)) else one_line(error)


def join_sentences(*texts: str) -> str:
    """Join texts into one, each ended by a full stop if another follows."""
    *before, last = texts
    return " ".join([*(text if text.endswith((".", "!", "?")) else f"{text}." for text in before), last])


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error reports that memory has run out; torch has no type of its own for the CPU's."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and ALLOCATION_FAILURE in str(error))


def command_line(verb: str, checkpoint_dir: str | Path) -> str:
    """Return the command line that does something with a checkpoint directory.

    Args:
        verb: ``check``, ``launch`` or ``repair``.
        checkpoint_dir: The checkpoint directory.
    """
    return f"python -m megatron.bridge.release {verb} {shlex.quote(str(checkpoint_dir))}"
