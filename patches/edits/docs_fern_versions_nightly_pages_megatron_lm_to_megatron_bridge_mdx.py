# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's docs/fern/versions/nightly/pages/megatron-lm-to-megatron-bridge.mdx, the mirror of its page."""

from patches.edits.docs_megatron_lm_to_megatron_bridge_md import TITLE, edits


TARGET = "docs/fern/versions/nightly/pages/megatron-lm-to-megatron-bridge.mdx"

EDITS = edits(TITLE)
