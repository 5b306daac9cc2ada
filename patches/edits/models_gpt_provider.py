# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""Edits to upstream's models/gpt_provider.py."""

from patches.engine import AddImport, Edit, InsertStatements, PassArgument, ReplaceDefault, ReplaceImport, ReplaceTest


TARGET = "megatron/bridge/models/gpt_provider.py"

EDITS = (
    Edit(
        name="default-layer-spec",
        symbol="default_layer_spec",
        why="Megatron Core's own modules stand in where there is no Transformer Engine.",
        drop_when="upstream's default layer spec does so.",
        do=InsertStatements("if not has_transformer_engine():\n    return local_layer_spec(config)", at="start"),
    ),
    Edit(
        name="mtp-block-spec",
        symbol="mtp_block_spec",
        why="Megatron Core's own modules stand in where there is no Transformer Engine.",
        drop_when="upstream's MTP spec does so.",
        do=PassArgument("get_gpt_mtp_block_spec", "use_transformer_engine=has_transformer_engine()"),
    ),
    Edit(
        name="mtp-layer-specs",
        symbol="mtp_block_spec",
        why="Megatron Core's own modules stand in where there is no Transformer Engine.",
        drop_when="upstream's MTP spec does so.",
        do=PassArgument("get_gpt_decoder_layer_specs", "use_transformer_engine=has_transformer_engine()"),
    ),
    Edit(
        name="gradient-accumulation-fusion",
        symbol="GPTModelProvider",
        why="The default is the model's; fit_to_host switches it off where the host lacks it, and the run config keeps it.",
        drop_when="upstream's default does not depend on the host.",
        do=ReplaceDefault("gradient_accumulation_fusion", "True"),
    ),
    Edit(
        name="vocabulary-padding",
        symbol="GPTModelProvider.provide",
        why="A vocabulary that the ranks cannot share evenly is padded, as Megatron-LM pads it, and not an assertion.",
        drop_when="upstream pads a vocabulary that tensor parallelism does not divide.",
        do=ReplaceTest(
            "self.should_pad_vocab", "self.should_pad_vocab or self.vocab_size % self.tensor_model_parallel_size"
        ),
    ),
    Edit(
        name="import-dataclasses",
        symbol="",
        why="The edit to gradient_accumulation_fusion leaves `field` unused.",
        drop_when="that edit is gone.",
        do=ReplaceImport("dataclasses", "from dataclasses import dataclass"),
    ),
    Edit(
        name="import-host",
        symbol="",
        why="Name used by the edits above.",
        drop_when="the edits above are gone.",
        do=AddImport("from megatron.bridge.utils.host import has_transformer_engine"),
    ),
)
