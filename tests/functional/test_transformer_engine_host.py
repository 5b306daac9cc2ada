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

"""On a host with CUDA and Transformer Engine a release is what any host writes, exports and compares the same.

Such a host is Transformer Engine's own Python sources with its C++ mocked (`transformer_engine_host`). A process becomes
it for good, so one worker converts all models, and this process, which is another host, looks at what it wrote.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from hf_tensors import assert_same_tensors, same_bits
from models import DENSE, FAMILIES, make_tiny_llama, save_random_model
from roots import stored_args
from safetensors.torch import load_file, save_file
from streamed import read_entries
from torch.distributed.checkpoint import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from transformers import GptOssConfig, LlamaConfig, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from workers import run_worker

from megatron.bridge import AutoBridge
from megatron.bridge.release.layout import FLAGS_FILE
from megatron.bridge.utils.te_requirements import has_stand_in


TRANSFORMER_ENGINE = "2.9.0"

pytestmark = pytest.mark.skipif(not has_stand_in(), reason="this host has CUDA and Transformer Engine itself")


class Host(NamedTuple):
    """What the worker made of each model, in a folder of its name, and what it told of it."""

    models: Path
    out: Path
    results: dict[str, dict[str, Any]]


def _vision_language(folder: Path, dtype: torch.dtype = torch.bfloat16) -> Path:
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
    vision = dict(depth=2, hidden_size=32, intermediate_size=48, num_heads=2, out_hidden_size=64)
    text = DENSE | dict(rope_parameters=rope)
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=False)
    save_random_model(folder, config, make=Qwen2_5_VLForConditionalGeneration)
    if dtype is torch.float32:
        tensors = load_file(folder / "model.safetensors")
        wider = {name: tensor.float() * 1.001 for name, tensor in tensors.items()}
        save_file(wider, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    """A host with CUDA and Transformer Engine, and what it converted."""
    folder = tmp_path_factory.mktemp("transformer_engine")
    models, out = folder / "models", folder / "out"
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder)]
    subprocess.run([*command, f"transformer-engine=={TRANSFORMER_ENGINE}"], check=True)
    (wheel,) = folder.glob("*.whl")
    gpt_oss = {
        name: value for name, value in DENSE.items() if name not in ("rope_parameters", "max_position_embeddings")
    }
    gpt_oss |= dict(head_dim=16, num_local_experts=4, num_experts_per_tok=2)
    made = [
        make_tiny_llama(models / "llama", "gqa-untied"),
        save_random_model(models / "experts", FAMILIES["Qwen3-MoE (experts, qk-norm)"].config),
        save_random_model(models / "mixtral", FAMILIES["Mixtral (experts, sliding window)"].config),
        save_random_model(models / "latent", FAMILIES["DeepSeek-V3 (MLA, shared experts)"].config),
        save_random_model(models / "gpt-oss", GptOssConfig(**gpt_oss)),
        _vision_language(models / "vision-language"),
        _vision_language(models / "wider-files", torch.float32),
        # Last: what a process has for itself grows with what it does first.
        save_random_model(models / "large", LlamaConfig(**LARGE)),
    ]
    out.mkdir()
    run_worker("transformer_engine_worker", wheel, out, *made, anew=True)
    return Host(models, out, json.loads((out / "results.json").read_text()))


# 270 MB in bfloat16, of which two thirds are the gates and up projections, which are converted.
LARGE = dict(
    vocab_size=512,
    hidden_size=1024,
    intermediate_size=8192,
    num_hidden_layers=5,
    num_attention_heads=8,
    num_key_value_heads=8,
    tie_word_embeddings=True,
)
NAMES = ["llama", "experts", "mixtral", "latent", "gpt-oss", "vision-language", "large"]


@pytest.mark.parametrize("name", NAMES)
def test_import_and_export_match_source_model_bit_for_bit(host, name):
    result = host.results[name]
    assert "error" not in result, result["error"]
    assert result["problems"] == []
    assert assert_same_tensors(host.out / name / "exported", host.models / name) == result["equal"]


@pytest.mark.parametrize("name", NAMES)
def test_import_streams_with_less_memory_than_model(host, name):
    size = sum(file.stat().st_size for file in (host.models / name).glob("*.safetensors"))
    assert host.results[name]["streamed"]
    if name == "large":
        assert size > 2.5e8 and host.results[name]["memory"] < 0.5 * size


def _tensors(folder: Path) -> dict[str, Any]:
    """Return the global shape, the chunks and the dtype of each tensor of a checkpoint, by its key."""
    metadata = FileSystemReader(folder).read_metadata().state_dict_metadata
    return {
        key: (tuple(entry.size), entry.properties.dtype, [tuple(chunk.offsets) for chunk in entry.chunks])
        for key, entry in metadata.items()
        if isinstance(entry, TensorStorageMetadata)
    }


def _others(folder: Path) -> set[str]:
    return FileSystemReader(folder).read_metadata().state_dict_metadata.keys() - _tensors(folder).keys()


def _assert_same_entries(folder: Path, of: Path) -> None:
    """Assert that a checkpoint has each tensor of another, bit by bit."""
    entries, others = read_entries(of), read_entries(folder)
    compared = [same_bits(others[key], entry) for key, entry in entries.items() if isinstance(entry, torch.Tensor)]
    assert all(compared) and len(compared) >= 9


# A caller's vision-language model has the dtype of upstream's providers, float32.
@pytest.mark.parametrize("name", [name for name in NAMES if name != "vision-language"])
def test_saved_release_matches_streamed_release(host, name):
    streamed, saved = host.out / name / "root/release", host.out / name / "saved/release"
    assert _tensors(saved) == _tensors(streamed) and _others(saved) == _others(streamed)
    _assert_same_entries(saved, streamed)
    args, others = (vars(stored_args(folder.parent)) for folder in (saved, streamed))
    assert {name for name in args.keys() | others.keys() if args[name] != others[name]} == {"tokenizer_model"}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("vision-language", "large")])
def test_release_matches_host_without_transformer_engine(host, name, tmp_path):
    AutoBridge.import_ckpt(host.models / name, tmp_path / "root", release=True)
    theirs, ours = host.out / name / "root/release", tmp_path / "root/release"
    assert _tensors(ours) == _tensors(theirs) and len(_tensors(ours)) >= 9
    assert _others(ours) == _others(theirs)
    assert any(key.startswith("decoder.final_layernorm._extra_state") for key in _others(theirs))
    _assert_same_entries(ours, theirs)
    assert (theirs / FLAGS_FILE).read_text() == (ours / FLAGS_FILE).read_text()


def test_latent_attention_has_keys_bias_and_no_gqa_flags(host):
    tensors = _tensors(host.out / "latent/root/release")
    bias = tensors["decoder.layers.1.mlp.router.expert_bias"]
    assert bias[:2] == ((4,), torch.float32)
    assert "decoder.layers.1.self_attention.linear_kv_up_proj.layer_norm_weight" in tensors
    assert {dtype for key, (_, dtype, _) in tensors.items() if not key.endswith("expert_bias")} == {torch.bfloat16}
    args = stored_args(host.out / "latent/root")
    assert args.multi_latent_attention and not args.group_query_attention and args.num_query_groups == 1
    flags = (host.out / "latent/root/release" / FLAGS_FILE).read_text()
    assert "--multi-latent-attention" in flags and "query-group" not in flags


def test_gpt_oss_release_sets_qkv_bias_in_args_and_flags(host):
    assert stored_args(host.out / "gpt-oss/root").add_qkv_bias is True
    assert "--add-qkv-bias\n" in (host.out / "gpt-oss/root/release" / FLAGS_FILE).read_text()


def test_weights_wider_than_the_config_dtype_compare_as_cast(host):
    assert host.results["wider-files"]["problems"] == []
    assert {dtype for _, dtype, _ in _tensors(host.out / "wider-files/root/release").values()} == {torch.bfloat16}


def test_vision_language_release_uses_dtype_of_model(host):
    assert json.loads((host.models / "vision-language/config.json").read_text())["text_config"].get("dtype") is None
    tensors = _tensors(host.out / "vision-language/root/release")
    assert {dtype for _, dtype, _ in tensors.values()} == {torch.bfloat16}
    assert stored_args(host.out / "vision-language/root").bf16 is True
