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

"""A model is checked each time, as it is then."""

import pytest
from transformers import LlamaConfig

from megatron.bridge.release.errors import python_option, shell_option
from megatron.bridge.release.validation import fidelity
from megatron.bridge.release.validation.fidelity import check_fidelity
from megatron.bridge.release.validation.model_errors import (
    TensorMismatchError,
    UnexpectedTensorsProblem,
    UnsupportedConfigError,
)


class Bridge:
    """An `AutoBridge` of a config alone."""

    def __init__(self) -> None:
        sizes = dict(vocab_size=64, hidden_size=64, num_attention_heads=4, num_hidden_layers=2)
        self.hf_pretrained = LlamaConfig(**sizes, architectures=["LlamaForCausalLM"])
        self.source_model = None


def test_config_changed_between_two_saves_is_checked_again():
    bridge = Bridge()
    assert check_fidelity(bridge).waived == ()
    bridge.hf_pretrained.mlp_bias = True
    with pytest.raises(UnsupportedConfigError) as raised:
        check_fidelity(bridge)
    assert "mlp_bias" in raised.value.problems[0] and raised.value.other is None
    assert len(check_fidelity(bridge, (), ["mlp_bias"]).waived) == 1


def test_tokenizer_is_checked_with_current_keywords(monkeypatch):
    checked = []
    monkeypatch.setattr(fidelity, "check_tokenizer", lambda path, keywords, config: checked.append(dict(keywords)))
    bridge = Bridge()
    for keywords in ({"revision": "one"}, {"revision": "two"}):
        check_fidelity(bridge, tokenizer_path="org/model", tokenizer_kwargs=keywords)
    assert checked == [{"revision": "one"}, {"revision": "two"}]


def test_reason_of_a_refused_config_names_the_callers_options():
    problem = UnexpectedTensorsProblem(("model.norm.bias",), "")
    error = UnsupportedConfigError("org/name", ("mlp_bias=True.",), TensorMismatchError("org/name", (problem,)))
    assert error.text(shell_option).endswith("To skip tensors, pass --allow-unused-tensors.")
    assert error.text(python_option).endswith("To skip tensors, pass allow_unused_tensors.")
