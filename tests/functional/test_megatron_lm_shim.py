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

"""The stand-ins that let Megatron-LM run on the CPU change nothing that a test looks at."""

import sys
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
import torch.distributed as dist
from cpu_host import on_the_cpu
from hf_logits import hf_logits, load_hf, wrong_logits
from megatron.core import parallel_state
from megatron.core.tensor_parallel.random import CudaRNGStatesTracker
from megatron.training import global_vars
from megatron_lm import BACKENDS, llama_flags, load, logits, megatron_lm, release_flags
from transformers import AutoConfig


def test_shim_replaces_and_restores_cuda():
    before = (torch.cuda.is_available, torch.cuda.current_device, torch.cuda.synchronize, torch.cuda.get_rng_state)
    with on_the_cpu():
        assert torch.ones(2, device="cuda").device.type == "cpu"
        assert torch.ones(2).cuda().device.type == "cpu"
        assert torch.ones(2, dtype=torch.bfloat16).dtype == torch.bfloat16
        assert not torch.cuda.is_available() and torch.cuda.current_device() == "cpu"
    after = (torch.cuda.is_available, torch.cuda.current_device, torch.cuda.synchronize, torch.cuda.get_rng_state)
    assert after == before


def test_megatron_lm_uses_no_device_on_the_cpu(tiny, monkeypatch):
    """A host with CUDA and no kernels for it, as far as Megatron-LM sees."""

    def asked(*_, **__):
        raise AssertionError("CUDA was asked for")

    tokens = torch.arange(40)[None]
    expected = hf_logits(load_hf(tiny.hf), tokens)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for name in ("device_count", "current_device", "synchronize", "get_rng_state", "get_device_properties"):
        monkeypatch.setattr(torch.cuda, name, asked)
    with megatron_lm(release_flags(tiny.root)) as args:
        model, iteration = load(args)
        assert iteration == 0 and {parameter.device.type for parameter in model.parameters()} == {"cpu"}
        assert wrong_logits(logits(model, tokens), expected) == []


def test_generators_exist_and_float32_is_exact_on_cuda(tiny, monkeypatch):
    """As far as it shows without CUDA: the same steps, with the CPU for a device and gloo for NCCL."""
    forked: list[str] = []
    tokens, before = torch.arange(40)[None], torch.get_float32_matmul_precision()
    monkeypatch.setitem(BACKENDS, "cuda", "gloo")
    torch.set_float32_matmul_precision("high")
    try:
        with on_the_cpu():

            def fork(self: CudaRNGStatesTracker, name: str = "model-parallel-rng") -> AbstractContextManager:
                assert name in self.get_states()
                forked.append(name)
                return nullcontext()

            monkeypatch.setattr(CudaRNGStatesTracker, "fork", fork)
            with megatron_lm([*release_flags(tiny.root), "--transformer-impl", "local"], "cuda") as args:
                assert torch.get_float32_matmul_precision() == "highest"
                found = logits(load(args)[0], tokens)
            monkeypatch.undo()
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)
    assert forked and wrong_logits(found, hf_logits(load_hf(tiny.hf), tokens)) == []


def test_megatron_lm_context_restores_global_state(tiny):
    argv = list(sys.argv)
    flags = llama_flags(AutoConfig.from_pretrained(tiny.hf), tiny.padded_vocab_size)
    for _ in range(2):
        with megatron_lm([*flags, "--load", str(tiny.root)]) as args:
            assert args.load == str(tiny.root) and dist.is_initialized()
        assert not dist.is_initialized() and not parallel_state.is_initialized()
        assert global_vars._GLOBAL_ARGS is None and sys.argv == argv


def test_loader_raises_error_when_layer_count_differs(tiny):
    """The loader under the shim is the real one: it refuses a layer too many."""
    config = AutoConfig.from_pretrained(tiny.hf)
    config.num_hidden_layers += 1
    with megatron_lm([*llama_flags(config, tiny.padded_vocab_size), "--load", str(tiny.root)]) as args:
        with pytest.raises(BaseException, match="Global shape mismatch"):
            load(args)
