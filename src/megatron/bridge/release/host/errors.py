# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Errors of child processes."""

from dataclasses import dataclass

from megatron.bridge.release.errors import OptionFormat, ReleaseError


@dataclass(eq=False)
class ChildProcessEndedError(ReleaseError, RuntimeError):
    """The process that converts a model ended before it was done.

    Attributes:
        status: Its exit status; below 0, the signal that ended it.
    """

    status: int

    def text(self, option: OptionFormat) -> str:
        how = f"was ended by signal {-self.status}" if self.status < 0 else f"ended with status {self.status}"
        advice = " The system ends processes like this if memory is short." if self.status == -9 else ""
        return f"The process that converts the model {how}. Its output is above.{advice}"
