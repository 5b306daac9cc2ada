# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Errors about the args of a checkpoint.

Importing this module imports neither torch nor Megatron Core.
"""

from dataclasses import dataclass
from typing import Any, Literal

from megatron.bridge.release.errors import OptionFormat, ReleaseError
from megatron.bridge.release.rope_factor import BUILT_IN_ROPE_SCALING_FACTOR


@dataclass(eq=False)
class UnknownRopeFactorError(ReleaseError):
    """A checkpoint does not record which rope scaling factor its training applied.

    Attributes:
        factor: The factor in the checkpoint's args.
        is_export: Whether the caller has the option to pass it.
    """

    factor: float
    is_export: bool = True

    def text(self, option: OptionFormat) -> str:
        export = (
            ""
            if self.is_export
            else "Export the checkpoint with AutoBridge.export_ckpt, and import the exported model. "
        )
        return (
            f"Unknown rope scaling factor: the checkpoint's args contain rope_scaling_factor={self.factor!r}, which "
            "Megatron-LM's own scripts ignore, and do not record which factor the training applied. "
            f"{export}Pass "
            f"{option('rope_scaling_factor')} with {BUILT_IN_ROPE_SCALING_FACTOR:g} if its script was unmodified, with "
            f"{self.factor!r} if it was corrected."
        )


@dataclass(eq=False)
class ArgsError(ReleaseError):
    """The args of a checkpoint do not describe how it was trained.

    Attributes:
        names: The arguments that are missing or have another type.
        value: Value of an argument that has another type.
    """

    names: tuple[str, ...]
    problem: Literal["missing", "not a number", "not finite"]
    value: Any = None

    def text(self, option: OptionFormat) -> str:
        names = ", ".join(self.names)
        problem = f"lack {names}"
        if self.problem != "missing":
            problem = f"contain {names}={self.value!r}, which is {self.problem}"
        return (
            f"The checkpoint's args {problem}, so it is unknown how the model was trained. Save the checkpoint with "
            "Megatron-LM or Megatron-Bridge."
        )
