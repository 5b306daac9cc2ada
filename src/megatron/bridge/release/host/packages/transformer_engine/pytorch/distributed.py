# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""What Megatron Core imports for random states and recomputation, neither of which a conversion uses."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class CudaRNGStatesTracker:
    """Base class of Megatron Core's tracker of random states."""


@contextmanager
def activation_recompute_forward(*args: Any, **kwargs: Any) -> Iterator[None]:
    """Run as usual."""
    yield


def is_fp8_activation_recompute_enabled() -> bool:
    """Return whether a recomputation uses FP8."""
    return False


def checkpoint(*args: Any, **kwargs: Any) -> Any:
    """Recompute activations in a backward pass, which there is none of."""
    raise NotImplementedError("Recomputing activations needs Transformer Engine and CUDA.")
