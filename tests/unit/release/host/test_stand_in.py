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

"""Tests of the stand-ins for CUDA packages: they compute what the packages compute, and nothing else finds them."""

import importlib
import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

from megatron.bridge.utils.te_requirements import has_stand_in


pytestmark = pytest.mark.skipif(not has_stand_in(), reason="this host has CUDA and Transformer Engine")
torch.manual_seed(0)


def _te() -> object:
    return importlib.import_module("transformer_engine").pytorch


def test_stand_ins_are_not_on_the_path():
    code = "import importlib.util as u; print([u.find_spec(n) for n in ('transformer_engine', 'fla', 'mamba_ssm')])"
    done = subprocess.run([sys.executable, "-c", f"import megatron.bridge.release.host; {code}"], capture_output=True)
    assert done.stdout.decode().strip() == "[None, None, None]"


@pytest.mark.parametrize("name", ["fla", "mamba_ssm"])
def test_transformers_does_not_use_the_stand_ins(name):
    from transformers.utils import import_utils

    assert importlib.import_module(name).__version__ == "0"
    assert not import_utils.is_flash_linear_attention_available() and not import_utils.is_mamba_2_ssm_available()


def test_second_activation_changes_nothing():
    from megatron.bridge.release.host.stand_in import activate_stand_ins

    before = sys.modules["transformer_engine"]
    activate_stand_ins()
    assert sys.modules["transformer_engine"] is before


@pytest.mark.parametrize("make", [lambda te: te.Linear(8, 8), lambda te: te.RMSNorm(8)], ids=["Linear", "RMSNorm"])
@pytest.mark.parametrize("context", [torch.enable_grad, torch.no_grad])
def test_training_is_refused(make, context):
    module = make(_te())
    with context(), pytest.raises(NotImplementedError, match="inference_mode"):
        module(torch.ones(2, 8))


def test_fp8_is_refused():
    te = _te()
    with pytest.raises(NotImplementedError, match="FP8"), te.fp8_autocast(enabled=True):
        pass
    with pytest.raises(NotImplementedError, match="FP8"):
        importlib.import_module("transformer_engine").common.recipe.DelayedScaling()


@pytest.mark.parametrize("zero_centered", [True, False])
@pytest.mark.parametrize("name", ["LayerNorm", "RMSNorm"])
def test_norm_is_computed_in_float32(name, zero_centered):
    te, inp = _te(), torch.randn(3, 8, dtype=torch.bfloat16)
    module = getattr(te, name)(8, eps=1e-3, zero_centered_gamma=zero_centered, params_dtype=torch.bfloat16)
    assert bool(module.weight.eq(float(not zero_centered)).all())
    torch.nn.init.normal_(module.weight)
    gamma = module.weight.float() + zero_centered
    expected = F.layer_norm(inp.float(), (8,), gamma, None, 1e-3)
    if name == "RMSNorm":
        expected = inp.float() * torch.rsqrt(inp.float().square().mean(-1, keepdim=True) + 1e-3) * gamma
    with torch.inference_mode():
        found = module(inp)
    assert found.dtype == torch.bfloat16 and torch.allclose(found.float(), expected, atol=2e-2)


@pytest.mark.parametrize("return_bias", [True, False])
def test_norm_and_linear_layer_are_fused(return_bias):
    module = _te().LayerNormLinear(8, 6, normalization="RMSNorm", return_bias=return_bias, params_dtype=torch.float32)
    torch.nn.init.normal_(module.bias)
    inp = torch.randn(3, 8)
    with torch.inference_mode():
        found = module(inp)
    product = F.rms_norm(inp, (8,), eps=1e-5) @ module.weight.T
    if return_bias:
        assert torch.allclose(found[0], product, atol=1e-6) and found[1] is module.bias
    else:
        assert torch.allclose(found, product + module.bias, atol=1e-6)
    assert module.get_extra_state().numel() == 0


def test_grouped_rows_have_weights_of_their_own():
    module = _te().GroupedLinear(3, 4, 2, bias=False, params_dtype=torch.float32)
    inp = torch.randn(5, 4)
    with torch.inference_mode():
        found = module(inp, m_splits=[2, 0, 3])
    assert torch.allclose(found, torch.cat([inp[:2] @ module.weight0.T, inp[2:] @ module.weight2.T]), atol=1e-6)


def test_parallel_sizes_are_those_of_a_rank():
    te = _te()
    column = te.Linear(8, 6, tp_size=2, parallel_mode="column", params_dtype=torch.float32)
    row = te.Linear(8, 6, tp_size=2, parallel_mode="row", params_dtype=torch.float32)
    assert (column.weight.shape, column.weight.partition_dim) == ((3, 8), 0)
    assert (row.weight.shape, row.weight.partition_dim) == ((6, 4), 1)
    with torch.inference_mode(), pytest.raises(NotImplementedError, match="tensor parallelism"):
        column(torch.ones(1, 8))
    with pytest.raises(ValueError, match="not divisible"):
        te.Linear(8, 7, tp_size=2, parallel_mode="column")


def _attention(query, key, value, visible):
    scores = torch.einsum("qbhd,kbhd->bhqk", query, key) / query.shape[-1] ** 0.5
    return torch.einsum("bhqk,kbhd->qbhd", scores.masked_fill(~visible, -torch.inf).softmax(-1), value).flatten(2)


@pytest.mark.parametrize("window", [None, (2, 0)])
def test_attention_shares_keys_among_heads_in_a_window(window):
    module = _te().DotProductAttention(4, 8, num_gqa_groups=2, window_size=window)
    query, key, value = torch.randn(6, 1, 4, 8), torch.randn(6, 1, 2, 8), torch.randn(6, 1, 2, 8)
    distance = torch.arange(6)[:, None] - torch.arange(6)
    visible = (distance >= 0) & (distance <= (6 if window is None else window[0]))
    with torch.inference_mode():
        found = module(query, key, value)
    expected = _attention(query, key.repeat_interleave(2, 2), value.repeat_interleave(2, 2), visible)
    assert torch.allclose(found, expected, atol=1e-6)


def test_learnable_offset_takes_a_share_of_the_attention():
    module = _te().DotProductAttention(2, 4, softmax_type="learnable")
    assert module.softmax_offset.dtype == torch.float32
    torch.nn.init.constant_(module.softmax_offset, 1.5)
    query, key, value = (torch.randn(3, 1, 2, 4) for _ in range(3))
    with torch.inference_mode():
        found = module(query, key, value)
    scores = torch.einsum("qbhd,kbhd->bhqk", query, key) / 2
    weights = scores.masked_fill(torch.ones(3, 3).triu(1).bool(), -torch.inf).exp()
    weights = weights / (weights.sum(-1, keepdim=True) + torch.tensor(1.5).exp())
    assert torch.allclose(found, torch.einsum("bhqk,kbhd->qbhd", weights, value).flatten(2), atol=1e-6)


def test_packed_sequences_are_refused():
    with torch.inference_mode(), pytest.raises(NotImplementedError, match="Packed sequences"):
        _te().DotProductAttention(2, 4)(*(torch.ones(3, 2, 4) for _ in range(3)), qkv_format="thd")


def test_gated_delta_rule_equals_that_of_transformers():
    from transformers.models.qwen3_next.modeling_qwen3_next import torch_chunk_gated_delta_rule

    rule = importlib.import_module("fla.ops.gated_delta_rule").chunk_gated_delta_rule
    query, key, value = (F.normalize(torch.randn(2, 70, 3, 8), dim=-1) for _ in range(3))
    decay, share = -torch.rand(2, 70, 3), torch.rand(2, 70, 3)
    found, state = rule(query, key, value, decay, share, output_final_state=True)
    expected, _ = torch_chunk_gated_delta_rule(query, key, value, decay, share)
    assert state.shape == (2, 3, 8, 8) and torch.allclose(found, expected, atol=1e-5)


def test_convolution_sees_earlier_positions_alone():
    convolve = importlib.import_module("fla.modules.convolution").causal_conv1d
    inp, weight = torch.randn(1, 5, 3), torch.randn(3, 2)
    found, _ = convolve(inp, weight, activation="silu")
    before = torch.cat([torch.zeros(1, 1, 3), inp[:, :-1]], 1)
    assert torch.allclose(found, F.silu(before * weight[:, 0] + inp * weight[:, 1]), atol=1e-6)


def test_mamba_layers_hold_parameters_alone():
    norm = importlib.import_module("mamba_ssm.ops.triton.layernorm_gated").RMSNorm(4)
    assert [name for name, _ in norm.named_parameters()] == ["weight"]
    with pytest.raises(NotImplementedError, match="mamba-ssm"):
        importlib.import_module("mamba_ssm.ops.triton.ssd_combined").mamba_chunk_scan_combined()
