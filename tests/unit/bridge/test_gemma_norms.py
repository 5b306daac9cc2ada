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

"""Every norm of a Gemma has the epsilon of its config."""

import pytest
from attention_backend import forget_attention_backend
from megatron.core.utils import unwrap_model
from transformers import Gemma2Config, Gemma3TextConfig

from megatron.bridge import AutoBridge
from megatron.bridge.release.validation.meta_model import build_on_meta
from megatron.bridge.utils.single_process import local_groups


SIZES = dict(
    vocab_size=500,
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    rms_norm_eps=1e-3,
)


@pytest.mark.parametrize("make", [Gemma2Config, Gemma3TextConfig])
def test_norms_have_the_epsilon_of_the_config(make, monkeypatch):
    forget_attention_backend(monkeypatch)
    architecture = make.__name__.replace("TextConfig", "Config").replace("Config", "ForCausalLM")
    provider = AutoBridge.from_hf_config(make(**SIZES, architectures=[architecture])).to_megatron_provider(False)
    provider.finalize()
    with local_groups() as groups:
        (model,) = unwrap_model(build_on_meta(provider, groups))
    found = {name: module.eps for name, module in model.named_modules() if hasattr(module, "eps")}
    assert {name for name in found if name.endswith("post_layernorm")} and set(found.values()) == {1e-3}
