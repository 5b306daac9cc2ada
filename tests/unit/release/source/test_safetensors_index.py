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

"""A folder whose weights transformers does not read as they are is refused, with what it is and what to do."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from megatron.bridge.release.source.safetensors_index import read_index


def _save(file: Path) -> None:
    file.parent.mkdir(exist_ok=True)
    save_file({"weight": np.ones((2, 3), np.float32)}, file)


@pytest.mark.parametrize(
    "weights", [["adapter_model.safetensors"], ["adapter_model.safetensors", "model.safetensors"]]
)
def test_a_lora_adapter_is_named_whether_its_base_is_there_or_not(tmp_path, weights):
    """transformers loads the base model that the adapter names, and applies the adapter."""
    (tmp_path / "adapter_config.json").write_text("{}")
    for name in weights:
        _save(tmp_path / name)
    with pytest.raises(ValueError, match="contains a LoRA adapter .* merge_and_unload.* remove adapter_config.json"):
        read_index(tmp_path)
    if "model.safetensors" in weights:
        (tmp_path / "adapter_config.json").unlink()
        assert read_index(tmp_path)["weight"].shape == (2, 3)


@pytest.mark.parametrize("others", [[], ["optimizer.bin"], ["other.safetensors"]])
def test_weights_that_fsdp_has_sharded_are_named_with_the_command_that_merges_them(tmp_path, others):
    folder = tmp_path / "a model"
    (folder / "pytorch_model_fsdp_0").mkdir(parents=True)
    (folder / "pytorch_model_fsdp_0/.metadata").touch()
    (folder / "pytorch_model_fsdp_0/__0_0.distcp").touch()
    for name in others:
        _save(folder / name)
    command = f"accelerate merge-weights '{folder}/pytorch_model_fsdp_0' OUT"
    with pytest.raises(ValueError, match=f"sharded by FSDP .pytorch_model_fsdp_0/.*{command}"):
        read_index(folder)


def test_a_model_with_its_own_weights_may_have_such_a_folder(tmp_path):
    (tmp_path / "pytorch_model_fsdp_0").mkdir()
    (tmp_path / "pytorch_model_fsdp_0/.metadata").touch()
    _save(tmp_path / "model.safetensors")
    assert read_index(tmp_path)["weight"].shape == (2, 3)
