# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""A stand-in for Transformer Engine on hosts without CUDA.

Its modules have the parameters of Transformer Engine 2.9 (names, shapes, dtypes) and the same empty extra state, so that
Megatron Core builds the model that it builds on a GPU host. They compute in plain torch, in inference mode only. FP8,
packed sequences, fused kernels, and computing in tensor or context parallelism are not supported.
"""

from . import common, pytorch


__all__ = ["common", "pytorch"]

__version__ = "2.9.0"
IS_STAND_IN = True
