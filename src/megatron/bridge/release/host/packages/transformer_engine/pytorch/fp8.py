# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The state of FP8: off."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class FP8GlobalStateManager:
    """Its methods that Megatron Core calls."""

    @classmethod
    def is_fp8_enabled(cls) -> bool:
        return False

    @classmethod
    def reset(cls) -> None:
        """Reset nothing."""


@contextmanager
def fp8_autocast(enabled: bool = False, *args: Any, **kwargs: Any) -> Iterator[None]:
    """Run without FP8."""
    if enabled:
        raise NotImplementedError("FP8 needs Transformer Engine and CUDA.")
    yield


fp8_model_init = fp8_autocast
