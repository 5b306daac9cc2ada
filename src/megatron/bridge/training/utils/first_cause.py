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

"""Finds the operating system's error behind a checkpoint that could not be written.

Megatron Core's writers pass an error on as the name of its class (``error: <class 'RuntimeError'>``), and torch's
zip writer, when a write fails, raises an error of its own over it (``unexpected pos 704 vs 598``). Both log while
they still handle the first one: there it can be seen.
"""

import logging
import sys
from contextlib import contextmanager
from typing import Iterator

import torch
from megatron.core.dist_checkpointing.strategies import filesystem_async
from torch.distributed.checkpoint import CheckpointException


class _HandledErrors(logging.Filter):
    """Notes the errors that are being handled where a logger is called, and shows what it would show without."""

    def __init__(self, noted: int, shown: int) -> None:
        super().__init__()
        self._noted, self._shown, self._outer = noted, shown, sys.exception()
        self.errors: list[BaseException] = []

    def filter(self, record: logging.LogRecord) -> bool:
        """Note the error, if there is one; tell whether the record is shown."""
        error = sys.exception()
        if error is not None and error is not self._outer and record.levelno >= self._noted:
            self.errors.append(error)
        return record.levelno >= self._shown

    def os_error(self) -> OSError | None:
        """Give the first error of the operating system that was noted, or that lies behind a noted one."""
        for noted in self.errors:
            error: BaseException | None = noted
            while error is not None and error is not self._outer:
                if isinstance(error, OSError):
                    return error
                error = error.__cause__ or error.__context__
        return None


@contextmanager
def handled_errors(name: str, level: int) -> Iterator[_HandledErrors]:
    """Note the errors that the code of a logger handles and logs.

    Args:
        name: Name of the logger.
        level: The least level of the records that tell of an error.

    Yields:
        What is noted.
    """
    logger = logging.getLogger(name)
    own, shown = logger.level, logger.getEffectiveLevel()
    errors = _HandledErrors(level, shown)
    logger.setLevel(min(level, shown))
    logger.addFilter(errors)
    try:
        yield errors
    finally:
        logger.removeFilter(errors)
        logger.setLevel(own)


@contextmanager
def naming_first_cause() -> Iterator[None]:
    """Let a save that failed in Megatron Core's writers end with the operating system's error, on every rank.

    Collective, as the save is: a `CheckpointException` is raised on every rank or on none.

    Raises:
        OSError: If the writers of any rank had one.
    """
    with handled_errors(filesystem_async.__name__, logging.DEBUG) as errors:
        try:
            yield
        except CheckpointException:
            causes: list[OSError | None] = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(causes, errors.os_error())
            for cause in causes:
                if cause is not None:
                    raise cause from None
            raise
