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

"""Megatron-LM's tensor- and pipeline-parallel layout of a Llama's parameters."""

import torch
from megatron.core import parallel_state


def tp_part(name: str, whole: torch.Tensor) -> torch.Tensor:
    """Give this rank's part of a parameter, by Megatron-LM's tensor-parallel layout."""
    tp, rank = parallel_state.get_tensor_model_parallel_world_size(), parallel_state.get_tensor_model_parallel_rank()
    if name.endswith(("linear_proj.weight", "linear_fc2.weight")):
        return whole.chunk(tp, dim=1)[rank]
    if name.endswith("linear_fc1.weight"):
        return torch.cat([half.chunk(tp)[rank] for half in whole.chunk(2)])
    if name.endswith(("linear_qkv.weight", "word_embeddings.weight", "output_layer.weight")):
        return whole.chunk(tp)[rank]
    return whole


def wrong(model: torch.nn.Module, expected: dict[str, torch.Tensor], layers: int) -> list[str]:
    """Name this rank's parameters that are missing, extra, or not bit-equal."""
    pp, stage = (
        parallel_state.get_pipeline_model_parallel_world_size(),
        parallel_state.get_pipeline_model_parallel_rank(),
    )
    offset = stage * layers // pp
    names = []
    for name, parameter in model.named_parameters():
        parts = name.removeprefix("module.").split(".")
        if parts[1] == "layers":
            parts[2] = str(int(parts[2]) + offset)
        key = ".".join(parts)
        if key == "output_layer.weight" and key not in expected:
            # Tied embeddings: the last pipeline stage has a copy of the first one's.
            key = "embedding.word_embeddings.weight"
        whole = expected.get(key)
        if whole is None or not torch.equal(parameter.float().cpu(), tp_part(name, whole)):
            names.append(name)
    return names
