# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's tests/unit_tests/models/test_autobridge_registration_matrix.py."""

from patches.edit import Edit
from patches.operations import InsertStatements


TARGET = "tests/unit_tests/models/test_autobridge_registration_matrix.py"

EDITS = (
    Edit(
        name="mixtral",
        symbol="",
        why="The test lists all registrations, so it failed with one more.",
        drop_when="upstream has a bridge for MixtralForCausalLM.",
        do=InsertStatements(
            """
            EXPECTED_REGISTRATIONS["MixtralForCausalLM"] = "megatron.bridge.models.mixtral.mixtral_bridge.MixtralBridge"
            STRING_REGISTRATIONS.add("MixtralForCausalLM")
            """,
            at_end=True,
        ),
    ),
    Edit(
        name="seed-oss",
        symbol="",
        why="The test lists all registrations, so it failed with one more.",
        drop_when="upstream has a bridge for SeedOssForCausalLM.",
        do=InsertStatements(
            """
            EXPECTED_REGISTRATIONS["SeedOssForCausalLM"] = "megatron.bridge.models.seed_oss.seed_oss_bridge.SeedOssBridge"
            STRING_REGISTRATIONS.add("SeedOssForCausalLM")
            """,
            at_end=True,
        ),
    ),
    Edit(
        name="phi3",
        symbol="",
        why="The test lists all registrations, so it failed with one more.",
        drop_when="upstream has a bridge for Phi3ForCausalLM.",
        do=InsertStatements(
            """
            EXPECTED_REGISTRATIONS["Phi3ForCausalLM"] = "megatron.bridge.models.phi.phi3_bridge.Phi3Bridge"
            STRING_REGISTRATIONS.add("Phi3ForCausalLM")
            """,
            at_end=True,
        ),
    ),
    Edit(
        name="ernie-4-5-dense",
        symbol="",
        why="The test lists all registrations, so it failed with one more.",
        drop_when="upstream has a bridge for Ernie4_5ForCausalLM.",
        do=InsertStatements(
            """
            EXPECTED_REGISTRATIONS["Ernie4_5ForCausalLM"] = "megatron.bridge.models.ernie.ernie_45_dense_bridge.Ernie45DenseBridge"
            STRING_REGISTRATIONS.add("Ernie4_5ForCausalLM")
            """,
            at_end=True,
        ),
    ),
)
