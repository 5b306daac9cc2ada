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

"""Edits to upstream's models/hf_pretrained/state.py."""

from patches.engine import AddImport, Edit, InsertStatements


TARGET = "megatron/bridge/models/hf_pretrained/state.py"

EDITS = (
    Edit(
        name="whole-model-alone",
        symbol="SafeTensorsStateSource.key_to_filename_map",
        why="Beside model.safetensors, other safetensors files (another format's, a file system's debris) were read too, "
        "and the last one's tensors won. transformers reads model.safetensors alone.",
        drop_when="upstream reads model.safetensors alone where there is no index.",
        do=InsertStatements("safetensor_files = weight_files(safetensor_files)", after_call="file_glob"),
    ),
    Edit(
        name="import-weight-files",
        symbol="",
        why="Name used by the edit above.",
        drop_when="the edit above is gone.",
        do=AddImport("from megatron.bridge.models.hf_pretrained.weight_files import weight_files"),
    ),
)
