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

"""Errors and warnings: classes whose fields are the facts, each with its text in one place.

A class of a folder's errors is in that folder's ``errors.py``. `tests/unit/release/messages.txt` shows all texts.

Importing this module imports neither torch nor Megatron Core.
"""

from megatron.bridge.release.compat.checkpoint_format import ALLOCATION_FAILURE
import shlex
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


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
        """See `Message`."""
        return self.reason


@dataclass(eq=False)
class OptionError(ReleaseError):
    """A refusal that an option may lift: to be replaced by classes of their own."""

    problem: str
    option: str
    advice: str

    def text(self, option: OptionFormat) -> str:
        """See `Message`."""
        return f"{self.problem} {self.advice.format(option=option(self.option))}"


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
        """See `Message`."""
        return f"{self.file} is corrupt: {self.reason}"


def warn(warning: ReleaseWarning | str) -> None:
    """Issue a warning on rank 0."""
    # Imported here because it loads torch.
    from megatron.bridge.release.compat.megatron_core_api import safe_get_rank

    if safe_get_rank() == 0:
        warnings.warn(warning, None if isinstance(warning, Warning) else ReleaseWarning, stacklevel=3)


def one_line(error: BaseException) -> str:
    """Return an error's type and message in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'}"


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
