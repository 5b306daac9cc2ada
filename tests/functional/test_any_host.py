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

import os
import subprocess

import pytest
import torch
import yaml
from attention_backend import forget_attention_backend
from hf_tensors import assert_exported, assert_same_tensors
from models import DENSE, save_random_model
from streamed import assert_same_checkpoint
from transformers import Gemma2Config, Gemma3TextConfig, GemmaConfig
from workers import TIMEOUT, python

from megatron.bridge import AutoBridge
from megatron.bridge.release.__main__ import main
from megatron.bridge.release.layout import TRACKER
from megatron.bridge.release.validation.model_errors import UnsupportedConfigError
from megatron.bridge.release.verify.check import check
from megatron.bridge.release.verify.findings import UnsupportedFamily
from megatron.bridge.release.verify.logits import compare_logits
from megatron.bridge.release.verify.report import BRIDGE, MEGATRON_LM, OLDER_MEGATRON_LM
from megatron.bridge.utils import host_compat, te_requirements
from megatron.bridge.utils.single_process import conversion_process_group


without_transformer_engine = pytest.mark.skipif(
    not host_compat.has_stand_in(), reason="Transformer Engine can be used here"
)
with_transformer_engine = pytest.mark.skipif(
    host_compat.has_stand_in(), reason="Transformer Engine is not installed, or has no CUDA"
)
without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="this host has CUDA")


def test_run_config_is_that_of_a_full_host(tiny, monkeypatch):
    written = yaml.safe_load((tiny.root / "release/run_config.yaml").read_text())

    # The same provider, finalized as on a host with CUDA and Transformer Engine: nothing is switched off.
    monkeypatch.setattr(te_requirements, "HAVE_TE", True)
    monkeypatch.setattr(host_compat, "has_stand_in", lambda: False)
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


@with_transformer_engine
def test_te_model_loads_release_written_without_te(tiny):
    """The real thing; the names above are what it asks for."""
    with conversion_process_group():
        model = AutoBridge.from_hf_pretrained(tiny.hf).load_megatron_model(tiny.root)[0]
    assert any(type(module).__module__.startswith("transformer_engine") for module in model.modules())


def _run_without_stand_ins(code: str, *arguments: object) -> str:
    """Run a script in a process that imports Megatron Core without Transformer Engine, as a user's does."""
    command = [python(), "-c", code, *map(str, arguments)]
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=TIMEOUT, env=os.environ | {"WITHOUT_STAND_INS": "1"}
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


_CONVERT = """
import sys
from megatron.bridge import AutoBridge
from megatron.bridge.utils.te_requirements import has_transformer_engine

assert not has_transformer_engine()
hf, out = sys.argv[1:]
AutoBridge.import_ckpt(hf, out + "/root", release=True)
AutoBridge.import_ckpt(hf, out + "/default")
bridge = AutoBridge.from_hf_pretrained(hf)
bridge.export_ckpt(out + "/root", out + "/exported", show_progress=False)
bridge.export_ckpt(out + "/default", out + "/exported by default", show_progress=False)
"""


@without_transformer_engine
@pytest.mark.parametrize("name", ["Llama 2", "DeepSeek-V3 (MLA, shared experts)"])
def test_process_without_transformer_engine_converts_in_a_child(families, name, tmp_path):
    hf = families(name)
    _run_without_stand_ins(_CONVERT, hf, tmp_path)
    assert (tmp_path / "default" / TRACKER).read_text() == "0"
    for exported in ("exported", "exported by default"):
        assert_same_tensors(tmp_path / exported, hf)
    # The args contain the path.
    (tmp_path / "root").rename(tmp_path / "of the child")
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    assert_same_checkpoint(tmp_path / "root/release", tmp_path / "of the child/release")


@without_transformer_engine
def test_refusal_in_a_child_is_the_same_error(families, tmp_path):
    code = """
import sys
from megatron.bridge import AutoBridge
from megatron.bridge.release.validation.model_errors import UnsupportedConfigError

try:
    AutoBridge.import_ckpt(sys.argv[1], sys.argv[2], release=True)
except UnsupportedConfigError as error:
    print(error.problems)
"""
    hf = save_random_model(tmp_path / "hf", GemmaConfig(**DENSE, head_dim=16))
    assert "model_type='gemma'" in _run_without_stand_ins(code, hf, tmp_path / "root")
    assert not (tmp_path / "root").exists()


@without_transformer_engine
def test_building_by_hand_without_transformer_engine_fails_with_advice(tiny):
    code = """
import sys
from megatron.bridge import AutoBridge

try:
    AutoBridge.from_hf_pretrained(sys.argv[1]).to_megatron_model(wrap_with_ddp=False, use_cpu_initialization=True)
except Exception as error:
    print(*error.__notes__)
"""
    assert "lacks Transformer Engine" in _run_without_stand_ins(code, tiny.hf)


@pytest.fixture(scope="module")
def bridge_only(tmp_path_factory):
    """A Gemma that was imported for Megatron-Bridge alone."""
    folder = tmp_path_factory.mktemp("gemma")
    hf = save_random_model(folder / "hf", Gemma2Config(**DENSE, head_dim=16, query_pre_attn_scalar=16))
    with pytest.MonkeyPatch.context() as monkeypatch:
        forget_attention_backend(monkeypatch)
        AutoBridge.import_ckpt(hf, folder / "root", release=True, allow_config_fields=["model_type"])
    return hf, folder / "root"


@pytest.mark.parametrize("config", [GemmaConfig, Gemma2Config, Gemma3TextConfig])
def test_family_that_megatron_lm_does_not_compute_is_refused(tmp_path, config):
    hf = save_random_model(tmp_path / "hf", config(**DENSE, head_dim=16))
    with pytest.raises(UnsupportedConfigError) as raised:
        AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    (problem,) = raised.value.problems
    assert problem.startswith(
        f"model_type={config.model_type!r} is not supported: Megatron-LM has no options for its "
    )
    assert not (tmp_path / "root").exists()


def test_bridge_only_release_is_exported_bit_for_bit(bridge_only, tmp_path, monkeypatch):
    forget_attention_backend(monkeypatch)
    hf, root = bridge_only
    assert_exported(hf, root, tmp_path / "exported")


def test_check_names_the_readers_of_a_bridge_only_release(bridge_only):
    report = check(bridge_only[1])
    assert report.passed and report.launch == []
    by_name = {reader.name: reader.reason for reader in report.readers}
    assert by_name[BRIDGE] is None
    reasons = {type(by_name[name]) for name in (MEGATRON_LM, OLDER_MEGATRON_LM)}
    assert reasons == {UnsupportedFamily}


def test_launch_refuses_a_bridge_only_release(bridge_only, capsys):
    assert main(["launch", str(bridge_only[1])]) == 1
    assert "error: Megatron-LM cannot use this release. Its model type 'gemma2'" in capsys.readouterr().err


def test_logit_check_of_a_bridge_only_release_is_skipped(bridge_only):
    hf, root = bridge_only
    comparison = compare_logits(root, hf)
    assert not comparison.matches and "no options for its activation" in comparison.skipped


def test_script_without_main_guard_imports(tiny, tmp_path):
    script = tmp_path / "plain.py"
    script.write_text(
        "from megatron.bridge import AutoBridge\n"
        f"AutoBridge.import_ckpt({str(tiny.hf)!r}, {str(tmp_path / 'root')!r}, release=True)\n"
        "print('once')\n"
    )
    environment = os.environ | {"WITHOUT_STAND_INS": "1"}
    run = subprocess.run([python(), script], capture_output=True, text=True, timeout=TIMEOUT, env=environment)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("once") == 1
    assert (tmp_path / "root" / TRACKER).read_text() == "release"
