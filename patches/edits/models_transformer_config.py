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

"""Edits to upstream's models/transformer_config.py."""

from patches.engine import AddImport, Edit, InsertStatements


TARGET = "megatron/bridge/models/transformer_config.py"

_FIT = InsertStatements("fit_to_host(self)", at="start")
_WHY = "Megatron Core refuses a config that its host cannot run; every model is finalized before it is built."
_DROP = "upstream's finalize leaves what its host lacks out of the model and in the config."

EDITS = (
    Edit(name="fit-gpt", symbol="TransformerConfig.finalize", why=_WHY, drop_when=_DROP, do=_FIT),
    Edit(name="fit-mla", symbol="MLATransformerConfig.finalize", why=_WHY, drop_when=_DROP, do=_FIT),
    Edit(
        name="fit-heterogeneous",
        symbol="HeterogeneousTransformerConfig.finalize",
        why=_WHY,
        drop_when=_DROP,
        do=_FIT,
    ),
    Edit(
        name="import-host",
        symbol="",
        why="Name used by the edits above.",
        drop_when="the edits above are gone.",
        do=AddImport("from megatron.bridge.utils.host import fit_to_host"),
    ),
)
