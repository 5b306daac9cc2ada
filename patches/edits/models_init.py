# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's models/__init__.py."""

from patches.edit import Edit
from patches.operations import InsertStatements


TARGET = "megatron/bridge/models/__init__.py"

EDITS = (
    Edit(
        name="register-mixtral",
        symbol="",
        why="The bridge of Mixtral is registered when its module is imported.",
        drop_when="upstream has a bridge for MixtralForCausalLM.",
        do=InsertStatements(
            "from megatron.bridge.models.mixtral import MixtralBridge  # noqa: E402, F401",
            at_end=True,
        ),
    ),
    Edit(
        name="register-seed-oss",
        symbol="",
        why="The bridge of Seed-OSS is registered when its module is imported.",
        drop_when="upstream has a bridge for SeedOssForCausalLM.",
        do=InsertStatements(
            "from megatron.bridge.models.seed_oss import SeedOssBridge  # noqa: E402, F401",
            at_end=True,
        ),
    ),
    Edit(
        name="register-phi3",
        symbol="",
        why="The bridge of Phi-3 is registered when its module is imported.",
        drop_when="upstream has a bridge for Phi3ForCausalLM.",
        do=InsertStatements(
            "from megatron.bridge.models.phi import Phi3Bridge  # noqa: E402, F401",
            at_end=True,
        ),
    ),
    Edit(
        name="register-ernie-4-5-dense",
        symbol="",
        why="The bridge of dense ERNIE 4.5 is registered when its module is imported.",
        drop_when="upstream has a bridge for Ernie4_5ForCausalLM.",
        do=InsertStatements(
            "from megatron.bridge.models.ernie.ernie_45_dense_bridge import Ernie45DenseBridge  # noqa: E402, F401",
            at_end=True,
        ),
    ),
    Edit(
        name="register-diffusion",
        symbol="",
        why="The package no longer imports the diffusion bridges when it is imported. They need this module, so they come last.",
        drop_when="upstream registers the diffusion bridges when a bridge is looked up.",
        do=InsertStatements(
            "import megatron.bridge.diffusion.models  # noqa: E402, F401",
            at_end=True,
        ),
    ),
)
