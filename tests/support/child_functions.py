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

"""Functions that tests call in a child process."""

import os
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import NoReturn

from megatron.bridge.release.errors import CorruptFileError
from megatron.bridge.release.validation.model_errors import SkippedTensorsWarning


class UnpicklableError(Exception):
    """An error that cannot be made again of its arguments."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")


def describe() -> dict[str, object]:
    """Return what a child process has."""
    return {
        "process": os.getpid(),
        "ranks": sorted(name for name in os.environ if name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")),
        "input": sys.stdin.read(),
        "group": os.getpgrp(),
        "has_stand_in": getattr(sys.modules.get("transformer_engine"), "IS_STAND_IN", False),
    }


def warn(count: int) -> int:
    """Issue the same warning several times, and another one."""
    for _ in range(count):
        warnings.warn(SkippedTensorsWarning("a model", ("a.weight",)))
    warnings.warn("of a library", UserWarning)
    return count


def refuse(name: str) -> NoReturn:
    """Raise an error for users."""
    raise CorruptFileError(name, "it is empty")


def fail() -> NoReturn:
    """Raise an error of a library."""
    raise UnpicklableError(1, 2)


def end(status: int) -> NoReturn:
    """End without an answer; below 0, by a signal."""
    if status < 0:
        os.kill(os.getpid(), -status)
        time.sleep(60)
    os._exit(status)


def clean_up_when_interrupted(folder: Path) -> None:
    """Wait to be interrupted, and tell that it was."""
    (folder / "started").write_text(str(os.getpid()))
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        # Longer than the parent process would take to end.
        time.sleep(0.2)
        (folder / "cleaned").touch()
        raise KeyboardInterrupt("interrupted; nothing was written") from None


def finish_despite_interrupt(folder: Path) -> None:
    """Finish what was interrupted."""
    signal.signal(signal.SIGINT, lambda number, frame: None)
    (folder / "started").write_text(str(os.getpid()))
    time.sleep(0.5)
