# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""A stand-in for flash-linear-attention: what Megatron Core's gated delta net calls, in plain torch."""

# Too old for transformers, which would use its kernels.
__version__ = "0"
