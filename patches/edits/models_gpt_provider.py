# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's models/gpt_provider.py."""

from patches.edit import Edit
from patches.operations import ReplaceExpression


TARGET = "megatron/bridge/models/gpt_provider.py"

EDITS = (
    Edit(
        name="vocabulary-padding",
        symbol="GPTModelProvider.provide",
        why="A vocabulary that the TP size does not divide is padded, as in Megatron-LM, instead of failing an assertion.",
        drop_when="upstream pads a vocabulary that tensor parallelism does not divide.",
        do=ReplaceExpression("self.should_pad_vocab", "__old__ or self.vocab_size % self.tensor_model_parallel_size"),
    ),
)
