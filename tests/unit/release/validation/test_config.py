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

"""Configs that no release is made of, whoever loaded them."""

import pytest
from transformers import LlamaConfig

from megatron.bridge.release.validation.config import check_config
from megatron.bridge.release.validation.errors import UnknownConfigFieldError
from megatron.bridge.release.validation.model_errors import HeadSizeError, PadTokenError


SIZES = dict(
    vocab_size=64, hidden_size=64, num_attention_heads=4, num_hidden_layers=2, architectures=["LlamaForCausalLM"]
)


def test_plain_config_is_supported():
    report = check_config(LlamaConfig(**SIZES))
    assert report.is_tested and not (report.refused or report.unknown or report.waived)


@pytest.mark.parametrize(
    ("changes", "kind", "fields"),
    [
        ({"transformers_weights": "other.safetensors"}, ValueError, {}),
        ({"head_dim": 15}, HeadSizeError, {"size": 15}),
        ({"pad_token_id": 64}, PadTokenError, {"token": 64, "rows": 64}),
        ({"pad_token_id": -65}, PadTokenError, {"token": -65, "rows": 64}),
    ],
)
def test_config_that_transformers_cannot_build_is_refused(changes, kind, fields):
    with pytest.raises(kind) as raised:
        check_config(LlamaConfig(**SIZES, **changes))
    assert {name: getattr(raised.value, name) for name in fields} == fields


@pytest.mark.parametrize("changes", [{"pad_token_id": 63}, {"pad_token_id": -64}, {"transformers_weights": None}])
def test_valid_pad_token_and_empty_weights_field_are_accepted(changes):
    assert not check_config(LlamaConfig(**SIZES, **changes)).refused


def test_private_fields_need_no_warning_and_others_do():
    """transformers writes the private ones, such as _commit_hash, and tools their own; no model computes with them."""
    config = LlamaConfig(**SIZES, _model_name_or_path="org/model", _anything={"a": 1}, anything=5)
    assert check_config(config).unknown == ["anything (5)"]


def test_waived_field_must_exist_in_config():
    with pytest.raises(UnknownConfigFieldError) as raised:
        check_config(LlamaConfig(**SIZES), ["nonesuch"])
    assert raised.value.names == ("nonesuch",) and "mlp_bias" in raised.value.fields
    report = check_config(LlamaConfig(**SIZES, mlp_bias=True), ["mlp_bias"])
    assert not report.refused and len(report.waived) == 1
    assert len(check_config(LlamaConfig(**SIZES, mlp_bias=True)).refused) == 1
