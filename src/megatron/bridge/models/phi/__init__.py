# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The bridge of Phi-3 and Phi-4 models."""

from megatron.bridge.models.phi.phi3_bridge import Phi3Bridge


__all__ = ["Phi3Bridge"]
