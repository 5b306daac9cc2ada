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

"""A release of any parallel layout loads at any other. What two ranks wrote is read back at TP=1 and PP=1
by the tests that take `imported`; here two ranks read what one wrote."""

import json

import pytest
from safetensors.torch import load_file

from megatron.bridge import AutoBridge
from megatron.bridge.release.verify.check import check
from megatron.bridge.release.verify.logits import compare_logits
from megatron.bridge.release.verify.streamed_weights import find_identical
from megatron.bridge.release.verify.weights import compare
from megatron.bridge.utils.single_process import conversion_process_group


@pytest.mark.parametrize("layout", ["tp2", "pp2"])
@pytest.mark.parametrize("reader", ["megatron_lm", "bridge"])
def test_two_ranks_read_every_parameter_of_single_rank_release(two_ranks, reader, layout):
    out, _ = two_ranks
    assert json.loads((out / "reads.json").read_text())[f"{reader} {layout}"] == []


@pytest.mark.parametrize("rank", [0, 1])
def test_metadata_readers_work_on_single_rank_of_two(two_ranks, rank):
    out, hf = two_ranks
    root = out / "tp1"
    assert json.loads((out / f"alone{rank}.json").read_text()) == {
        "hf_model_id": str(hf),
        "vocab_size": 500,
        "num_layers": 2,
        "hidden_size": 64,
        "tracker": [0, True],
        "folder": f"{root}/release",
    }


@pytest.mark.parametrize("name", ["tp2", "pp2"])
def test_two_ranks_import_a_tied_odd_vocabulary(two_ranks, name):
    out, _ = two_ranks
    root = out / f"odd-{name}"
    assert check(root).problems == []
    equal, problems = compare(root / "release", str(out / "odd"))
    assert problems == [] and equal == len(load_file(out / "odd/model.safetensors"))
    assert compare_logits(root, out / "odd").matches


@pytest.mark.parametrize("name", ["tp2", "pp2", "odd-tp2"])
def test_sharded_or_padded_weights_compare_without_a_load(two_ranks, name):
    out, hf = two_ranks
    hf = out / "odd" if name.startswith("odd") else hf
    with conversion_process_group():
        equal = find_identical(out / name / "release", AutoBridge.from_hf_pretrained(hf))
    assert equal.tensors == load_file(hf / "model.safetensors").keys()


@pytest.mark.parametrize("rank", [0, 1])
def test_both_ranks_refuse_model_with_missing_tensor(two_ranks, rank):
    out, _ = two_ranks
    assert "Missing tensors: model.norm.weight" in (out / f"less{rank}.txt").read_text()
    assert not (out / "less-root").exists()
