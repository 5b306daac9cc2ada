# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Names of the FP8 recipes, which Megatron Core subclasses or refers to. None of them can be used."""

from typing import Any


class DelayedScaling:
    """Base class of Megatron Core's recipe."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("FP8 needs Transformer Engine and CUDA.")
