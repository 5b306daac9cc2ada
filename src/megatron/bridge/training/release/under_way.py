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

"""The save of a release that is under way: state that its steps share, which are spread over upstream's functions."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path


@dataclass
class ReleaseSave:
    """A save.

    Attributes:
        root: Checkpoint root, where the release is published.
        staging: The folder, laid out as a root, that it is written into meanwhile.
        args: Megatron-LM's args of the model, when they are made.
    """

    root: Path
    staging: Path
    args: argparse.Namespace | None = None


_current: ContextVar[ReleaseSave | None] = ContextVar("the save of a release", default=None)


def under_way() -> ReleaseSave | None:
    """Return the save that is under way; None where nothing is staged."""
    return _current.get()


@contextmanager
def begin(save: ReleaseSave) -> Iterator[ReleaseSave]:
    """Let a save be the one that is under way."""
    token = _current.set(save)
    try:
        yield save
    finally:
        _current.reset(token)
