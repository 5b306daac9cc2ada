# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The bridge of Seed-OSS models."""

from megatron.bridge.models.seed_oss.seed_oss_bridge import SeedOssBridge


__all__ = ["SeedOssBridge"]
