# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's tests/unit_tests/models/test_gpt_provider.py."""

from patches.edit import Edit
from patches.operations import AddDecorator


TARGET = "tests/unit_tests/models/test_gpt_provider.py"

EDITS = (
    Edit(
        name="with-transformer-engine",
        symbol="TestGPTModelProvider",
        why="They are tests of the specifications with Transformer Engine, which a host without it does not take any more.",
        drop_when="upstream's tests say which host they are of.",
        do=AddDecorator('@patch("megatron.bridge.models.gpt_provider.has_transformer_engine", new=lambda: True)'),
    ),
)
