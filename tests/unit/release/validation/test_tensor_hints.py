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

"""What may be the cause of missing and misshapen tensors is named, with what to do."""

from types import SimpleNamespace

import pytest

from megatron.bridge.release.source.safetensors_index import TensorInfo
from megatron.bridge.release.validation.tensor_hints import explain_missing, explain_shapes, explain_unexpected


EXPERTS = [f"model.layers.0.mlp.experts.{at}.{kind}_proj.weight" for at in range(2) for kind in ("gate", "up", "down")]
CONFIG = SimpleNamespace(vocab_size=500, num_hidden_layers=2)
EMBEDDING, OUTPUT, NORM = "model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"


def _headers(**shapes: tuple[int, ...]) -> dict[str, TensorInfo]:
    return {name: TensorInfo("BF16", shape, "model.safetensors") for name, shape in shapes.items()}


@pytest.mark.parametrize("names", [("gate_up_proj", "down_proj"), ("w1.weight", "w2.weight")])
def test_fused_experts_are_named(names):
    fused = [f"model.layers.0.mlp.experts.{name}" for name in names]
    headers = _headers(**dict.fromkeys(fused, (2, 8, 4)))
    said = explain_missing(EXPERTS, fused, headers, CONFIG)
    assert f"fused into one tensor ({fused[0]})" in said and "save_pretrained" in said
    assert explain_unexpected(fused, EXPERTS, headers, CONFIG) == ""


def test_experts_that_are_missing_alone_are_not_called_fused():
    assert "fused" not in explain_missing(EXPERTS, [], _headers(), CONFIG)
    assert "fused" not in explain_missing([NORM], ["model.layers.0.mlp.experts.down_proj"], _headers(), CONFIG)


@pytest.mark.parametrize(
    ("found", "expected", "said"),
    [
        ({NORM: (0,)}, {NORM: (64,)}, "1 of them are empty: DeepSpeed ZeRO-3"),
        ({NORM: (0,), OUTPUT: (3, 64)}, {}, "1 of them are empty: DeepSpeed ZeRO-3"),
        ({EMBEDDING: (510, 64)}, {EMBEDDING: (500, 64)}, "set vocab_size in config.json to 510 (it is 500)"),
        (
            {EMBEDDING: (510, 64), OUTPUT: (510, 64)},
            {EMBEDDING: (500, 64), OUTPUT: (500, 64)},
            "set vocab_size in config.json to 510",
        ),
        # Of two sizes, of another width, or together with others, it is no vocabulary that has grown.
        ({EMBEDDING: (510, 64), OUTPUT: (512, 64)}, {EMBEDDING: (500, 64), OUTPUT: (500, 64)}, "a different model"),
        ({EMBEDDING: (510, 32)}, {EMBEDDING: (500, 64)}, "a different model"),
        ({EMBEDDING: (510, 64), NORM: (32,)}, {EMBEDDING: (500, 64), NORM: (64,)}, "a different model"),
        ({EMBEDDING: (510, 64), NORM: (32,)}, {EMBEDDING: (500, 64)}, "a different model"),
        ({NORM: (32,)}, {NORM: (64,)}, "a different model"),
        ({NORM: (32,)}, {}, "a different model"),
    ],
)
def test_explain_shapes_reports_cause(found, expected, said):
    assert said in explain_shapes(list(found), expected, _headers(**found), CONFIG)
