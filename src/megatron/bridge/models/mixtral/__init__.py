# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The bridge of Mixtral models."""

from megatron.bridge.models.mixtral.mixtral_bridge import MixtralBridge


__all__ = ["MixtralBridge"]
