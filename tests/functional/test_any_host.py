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

"""What the host lacks changes neither what is written nor whether a Transformer Engine model can read it."""

import dataclasses
import subprocess

import pytest
import torch
import yaml
from attention_backend import forget_attention_backend
from megatron.core import dist_checkpointing
from megatron.core.dist_checkpointing.serialization import load_sharded_metadata
from megatron.core.models.gpt import gpt_layer_specs
from models import DENSE, save_random_model
from transformers import Gemma2Config, Gemma3TextConfig, GemmaConfig
from workers import TIMEOUT, python

from megatron.bridge import AutoBridge
from megatron.bridge.models.conversion.model_bridge import MegatronModelBridge
from megatron.bridge.release.layout import TRACKER
from megatron.bridge.utils import host_compat, te_requirements
from megatron.bridge.utils.single_process import conversion_process_group


without_transformer_engine = pytest.mark.skipif(
    host_compat.has_transformer_engine(), reason="Transformer Engine can be used here"
)
with_transformer_engine = pytest.mark.skipif(
    not host_compat.has_transformer_engine(), reason="Transformer Engine is not installed, or has no CUDA"
)
without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="this host has CUDA")


def test_run_config_is_that_of_a_full_host(tiny, monkeypatch):
    written = yaml.safe_load((tiny.root / "release/run_config.yaml").read_text())

    # The same provider, finalized as on a host with CUDA and Transformer Engine: nothing is switched off.
    monkeypatch.setattr(te_requirements, "HAVE_TE", True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(host_compat, "can_enable_gradient_accumulation_fusion", lambda: True)
    monkeypatch.setattr(
        "megatron.core.transformer.transformer_config.fused_apply_rotary_pos_emb", object(), raising=False
    )
    monkeypatch.setattr("megatron.core.models.common.embeddings.rope_utils.fused_apply_rotary_pos_emb", object())
    provider = AutoBridge.from_hf_pretrained(tiny.hf).to_megatron_provider()
    # Its class has asked this host.
    provider.gradient_accumulation_fusion = True
    provider.finalize()
    assert provider.apply_rope_fusion and provider.persist_layer_norm and provider.gradient_accumulation_fusion

    for field, value in written["model"].items():
        if isinstance(value, (bool, int, float, str)) and field not in ("_target_", "use_cpu_initialization"):
            assert value == getattr(provider, field), field
    # As the caller of import_ckpt gets it with CUDA, too: the import initializes on the CPU.
    assert written["model"]["use_cpu_initialization"] is True
    assert written["model"]["transformer_layer_spec"]["_target_"].endswith("gpt_provider.default_layer_spec")


@without_cuda
def test_model_is_on_the_cpu_and_config_is_kept(tiny):
    with conversion_process_group():
        provider = AutoBridge.from_hf_pretrained(tiny.hf).to_megatron_provider(load_weights=False)
        provider.finalize()
        model = provider.provide_distributed_model(wrap_with_ddp=False)
    assert {parameter.device.type for parameter in model[0].parameters()} == {"cpu"}
    assert host_compat.restore_model_values(provider).use_cpu_initialization is False
    assert provider.use_cpu_initialization is True


class _Norm:
    """Stands for TENorm: it has a weight and an _extra_state."""


class _Linear:
    """Stands for Transformer Engine's linear layers: a weight and an _extra_state."""


class _NormLinear:
    """Stands for TELayerNormColumnParallelLinear: also the fused norm's layer_norm_weight."""


class _Attention:
    """Stands for TEDotProductAttention, which keeps its _extra_state out of checkpoints."""


class _TransformerEngineRoles:
    """Gives megatron-core's layer specs a marker for each of its Transformer Engine modules."""

    linear = column_parallel_linear = row_parallel_linear = lambda self: _Linear
    column_parallel_layer_norm_linear = lambda self: _NormLinear
    core_attention = lambda self: _Attention
    fuse_layernorm_and_linear = lambda self: True
    layer_norm = lambda self, rms_norm=False, for_qk=False, has_residual=False: _Norm
    grouped_mlp_modules = lambda self, grouped: None
    activation_func = lambda self: None


_PARTS = {
    _Norm: ("weight", "_extra_state"),
    _Linear: ("weight", "_extra_state"),
    _NormLinear: ("weight", "layer_norm_weight", "_extra_state"),
}


def _asked_for(submodules, path: str) -> set[str]:
    """Name the entries under `path` that a Transformer Engine model with these submodules asks for."""
    keys = set()
    for field in dataclasses.fields(submodules):
        module = getattr(submodules, field.name)
        name = f"{path}.{field.name}"
        inner = getattr(module, "submodules", None) or getattr(module, "keywords", {}).get("submodules")
        keys |= {f"{name}.{part}" for part in _PARTS.get(module, ())} if isinstance(module, type) else set()
        # Experts keep their keys in both kinds of model; they have no norm.
        if dataclasses.is_dataclass(inner) and field.name not in ("experts", "shared_experts"):
            keys |= _asked_for(inner, name)
    return keys


def _keys(root) -> set[str]:
    return {entry.key for entry in load_sharded_metadata(str(root / "release")).values()}


def test_dense_release_has_the_entries_of_te_norms(tiny):
    metadata = load_sharded_metadata(str(tiny.root / "release"))
    assert "decoder.final_layernorm._extra_state/shard_0_1" in metadata
    with conversion_process_group():
        state = dist_checkpointing.load(
            {"extra": metadata["decoder.final_layernorm._extra_state/shard_0_1"]}, str(tiny.root / "release")
        )
    assert state["extra"].dtype == torch.uint8 and state["extra"].numel() == 0


# What the layer specs of the families differ in.
SPECS = {
    "Llama 2": {},
    "Qwen3 (qk-norm)": {"qk_layernorm": True},
    "Qwen3-MoE (experts, qk-norm)": {"num_experts": 4, "qk_layernorm": True},
}


@pytest.mark.parametrize("name", SPECS)
def test_release_has_every_key_of_the_te_spec(name, families, tmp_path, monkeypatch):
    spec = SPECS[name]
    AutoBridge.import_ckpt(families(name), tmp_path / "root", release=True)

    monkeypatch.setattr(gpt_layer_specs, "TESpecProvider", _TransformerEngineRoles)
    layer = gpt_layer_specs.get_gpt_layer_with_transformer_engine_submodules(**spec)
    expected = _asked_for(layer, "decoder.layers") | {f"decoder.final_layernorm.{part}" for part in _PARTS[_Norm]}
    assert {"decoder.layers.self_attention.linear_qkv.layer_norm_weight"} < expected
    # What two of the layers that differ are for: a norm of its own, and no mapping of it.
    assert ("decoder.layers.pre_mlp_layernorm._extra_state" in expected) == ("num_experts" in spec)
    assert ("decoder.layers.self_attention.q_layernorm._extra_state" in expected) == ("qk_layernorm" in spec)
    assert expected <= _keys(tmp_path / "root")


@with_transformer_engine
def test_te_model_loads_release_written_without_te(tiny):
    """The real thing; the names above are what it asks for."""
    with conversion_process_group():
        model = AutoBridge.from_hf_pretrained(tiny.hf).load_megatron_model(tiny.root)[0]
    assert any(type(module).__module__.startswith("transformer_engine") for module in model.modules())


@without_transformer_engine
@pytest.mark.parametrize("config", [GemmaConfig, Gemma2Config, Gemma3TextConfig])
def test_model_that_needs_te_is_refused_before_reading_weights(tmp_path, monkeypatch, config):
    forget_attention_backend(monkeypatch)
    # Gemma's norms add one to their weights, which the torch norms of Megatron Core's own layers cannot.
    hf = save_random_model(tmp_path / "hf", config(**DENSE, head_dim=16))
    # Nothing is read.
    monkeypatch.setattr(MegatronModelBridge, "load_weights_hf_to_megatron", lambda *_: pytest.fail("it was read"))
    allowed = ["hidden_act"] if config is GemmaConfig else []
    with pytest.raises(RuntimeError) as error:
        AutoBridge.import_ckpt(hf, tmp_path / "root", release=True, allow_config_fields=allowed)
    message = str(error.value)
    assert "\n" not in message and str(hf) in message and "'transformer-engine[core_cu13,pytorch]'" in message
    assert not (tmp_path / "root").exists()


@without_transformer_engine
def test_gemma_is_refused_without_an_option_to_waive(tmp_path):
    """To ignore the activation would lead to the refusal above: the first error does not suggest it."""
    hf = save_random_model(tmp_path / "hf", GemmaConfig(**DENSE, head_dim=16))
    with pytest.raises(ValueError) as error:
        AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    message = str(error.value)
    assert message.startswith(f"Megatron-LM cannot reproduce {hf}: hidden_act='gelu_pytorch_tanh'")
    assert "pip install --no-build-isolation 'transformer-engine[" in message and "allow_config_fields" not in message
    assert not (tmp_path / "root").exists()


def test_script_without_main_guard_imports(tiny, tmp_path):
    script = tmp_path / "plain.py"
    script.write_text(
        "from megatron.bridge import AutoBridge\n"
        f"AutoBridge.import_ckpt({str(tiny.hf)!r}, {str(tmp_path / 'root')!r}, release=True)\n"
        "print('once')\n"
    )
    run = subprocess.run([python(), script], capture_output=True, text=True, timeout=TIMEOUT)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("once") == 1
    assert (tmp_path / "root" / TRACKER).read_text() == "release"
