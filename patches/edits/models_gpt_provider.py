# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's models/gpt_provider.py."""

from patches.edit import Edit
from patches.operations import InsertStatements, PassArgument, ReplaceExpression


TARGET = "megatron/bridge/models/gpt_provider.py"

_WHY = "Megatron Core's own modules stand in where there is no Transformer Engine."
_HOST = ("from megatron.bridge.utils.te_requirements import has_transformer_engine",)

EDITS = (
    Edit(
        name="layer-spec",
        symbol="transformer_engine_layer_spec",
        why=_WHY,
        drop_when="upstream's layer spec does so.",
        do=InsertStatements("if not has_transformer_engine():\n    return local_layer_spec(config)\n\n"),
        imports=_HOST,
    ),
    Edit(
        name="mtp-block-spec",
        symbol="mtp_block_spec",
        why=_WHY,
        drop_when="upstream's MTP spec does so.",
        do=(
            PassArgument("get_gpt_mtp_block_spec", "use_transformer_engine=has_transformer_engine()"),
            PassArgument("get_gpt_decoder_layer_specs", "use_transformer_engine=has_transformer_engine()"),
        ),
        imports=_HOST,
    ),
    Edit(
        name="vocabulary-padding",
        symbol="GPTModelProvider.provide",
        why="A vocabulary that the ranks cannot share evenly is padded, as Megatron-LM pads it, and not an assertion.",
        drop_when="upstream pads a vocabulary that tensor parallelism does not divide.",
        do=ReplaceExpression("self.should_pad_vocab", "__old__ or self.vocab_size % self.tensor_model_parallel_size"),
    ),
)
