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

"""What an export writes of a trained checkpoint follows from its source's config.json and its own tensors."""

import json
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from transformers import LlamaConfig

from megatron.bridge.release.export.errors import NoWeightsError
from megatron.bridge.release.export.trained_model import source_config, written_dtype


@pytest.mark.parametrize(
    ("tensors", "expected"),
    [
        ({"weight": torch.bfloat16}, "bfloat16"),
        ({"weight": torch.float16, "bias": torch.float32}, "float16"),
        ({"weight": torch.float32, "count": torch.int64}, "float32"),
        # Integers are no type of a config, however many there are.
        ({"count": torch.int64, "bias": torch.bfloat16}, "bfloat16"),
    ],
)
def test_written_dtype_is_that_of_most_values(tmp_path, tensors, expected):
    sizes = {"weight": 64, "count": 100, "bias": 2}
    save_file(
        {name: torch.zeros(sizes[name], dtype=dtype) for name, dtype in tensors.items()},
        tmp_path / "model.safetensors",
    )
    assert written_dtype(tmp_path) == expected


def test_written_dtype_needs_floating_point_tensors(tmp_path):
    save_file({"count": torch.zeros(3, dtype=torch.int64)}, tmp_path / "model.safetensors")
    with pytest.raises(NoWeightsError):
        written_dtype(tmp_path)


@pytest.mark.parametrize("trusted", [False, True])
def test_source_config_lacks_quantization_and_untrusted_code(tmp_path, trusted):
    kept = {"model_type": "llama", "rope_theta": 5e5, "a field of its own": {"deep": [1]}, "torch_dtype": "float16"}
    code = {"auto_map": {"AutoConfig": "configuration.Config"}}
    (tmp_path / "config.json").write_text(json.dumps(kept | code | {"quantization_config": {"bits": 4}}))
    loaded = SimpleNamespace(model_name_or_path=tmp_path, init_kwargs={"dtype": "auto"}, trust_remote_code=trusted)
    assert source_config(SimpleNamespace(hf_pretrained=loaded)) == kept | (code if trusted else {})


def test_source_config_of_a_bridge_without_model():
    config = LlamaConfig(hidden_size=32)
    assert source_config(SimpleNamespace(hf_pretrained=config)) == config.to_dict()
