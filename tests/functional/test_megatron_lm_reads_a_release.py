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

"""Megatron-LM's own loader finds, in a release, the values of the Hugging Face model it was made from."""

import pytest
import torch
from hf_logits import hf_logits, load_hf, wrong_logits
from megatron_lm import greedy, llama_flags, load, logits, megatron_lm
from models import megatron_tensors
from transformers import AutoConfig, AutoTokenizer


PROMPTS = ("The capital of France is", "Water boils at a temperature of", "def fibonacci(n):")


@pytest.fixture(scope="module", params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def both(request, imported):
    """The Hugging Face model and Megatron-LM's, in float32, of one release."""
    hf = load_hf(imported.hf)
    flags = llama_flags(AutoConfig.from_pretrained(imported.hf), imported.padded_vocab_size)
    with megatron_lm([*flags, "--load", str(imported.root), "--exit-on-missing-checkpoint"], request.param) as args:
        model, iteration = load(args)
        assert iteration == 0
        yield hf, model, imported


def test_megatron_lm_loads_every_parameter_bit_for_bit(both):
    hf, model, imported = both
    expected = megatron_tensors(hf, imported.padded_vocab_size)
    found = dict(model.named_parameters())
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert torch.equal(found[name].cpu(), tensor), name


def test_logits_are_those_of_hugging_face(both):
    hf, model, imported = both
    torch.manual_seed(1)
    tokens = torch.randint(hf.config.vocab_size, (2, 48))
    found = logits(model, tokens)[..., : hf.config.vocab_size]
    assert wrong_logits(found, hf_logits(hf, tokens)) == []


@pytest.mark.parametrize("imported", ["smollm2"], indirect=True)
def test_greedy_tokens_equal_hugging_face(both):
    hf, model, imported = both
    tokenizer = AutoTokenizer.from_pretrained(imported.hf)
    for prompt in PROMPTS:
        tokens = tokenizer(prompt, return_tensors="pt").input_ids
        expected = hf.generate(tokens, max_new_tokens=12, do_sample=False, eos_token_id=None)
        assert greedy(model, tokens, 12, hf.config.vocab_size) == expected[0, -12:].tolist(), prompt
