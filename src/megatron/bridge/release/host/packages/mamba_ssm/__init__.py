# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""A stand-in for mamba-ssm: the parameters of its modules. Mamba layers are converted, not computed."""

# Too old for transformers, which would use its kernels.
__version__ = "0"
