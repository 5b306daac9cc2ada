# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's docs/fern/versions/nightly/pages/training/checkpointing.mdx, the mirror of its page."""

from patches.edits.docs_training_checkpointing_md import edits


TARGET = "docs/fern/versions/nightly/pages/training/checkpointing.mdx"

EDITS = edits("## Checkpoint Format")
