# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Stand-ins for CUDA packages with which a host without CUDA builds the models that a GPU host builds.

Megatron Core builds a model from the modules of Transformer Engine, flash-linear-attention and mamba-ssm if it can import
them. The stand-ins in `packages` have the same parameters and compute in plain torch, for conversions and the logit check.
`stand_in` lets Megatron Core import them.
"""
