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

"""A streamed release is, entry by entry and bit by bit, what a save of the loaded model is."""

import hashlib
import io
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from attention_backend import forget_attention_backend
from hf_tensors import same_bits
from megatron.core.msc_utils import MultiStorageClientFeature
from memory import anonymous
from models import DENSE, FAMILIES, save_random_model
from odd_models import change_config
from safetensors.torch import load_file, save_file
from streamed import CutWrites, assert_same_checkpoint, read_entries, save_loaded
from transformers import LlamaConfig
from workers import run_worker

from megatron.bridge import AutoBridge
from megatron.bridge.models.conversion.mapping_registry import MegatronMappingRegistry
from megatron.bridge.models.conversion.param_mapping import AutoMapping, FusedExpertMapping
from megatron.bridge.models.qwen.qwen3_moe_bridge import Qwen3MoEBridge
from megatron.bridge.release.layout import TRACKER
from megatron.bridge.release.validation.fidelity import check_fidelity
from megatron.bridge.release.validation.model_errors import NonFiniteError
from megatron.bridge.release.verify.check import check
from megatron.bridge.release.write import entry_file, run, streaming
from megatron.bridge.release.write import writer as writing
from megatron.bridge.release.write.streaming import streamed_model, weights_of
from megatron.bridge.training.model_load_save import temporary_distributed_context


@pytest.fixture
def streams(monkeypatch) -> list[Any]:
    """The models that are streamed."""
    seen: list[Any] = []

    def note(*arguments: Any) -> Any:
        seen.append(streamed_model(*arguments))
        return seen[-1]

    monkeypatch.setattr(run, "streamed_model", note)
    return seen


@pytest.mark.parametrize("name", FAMILIES)
def test_streamed_release_matches_saved_release(name, tmp_path, monkeypatch, streams):
    forget_attention_backend(monkeypatch)
    hf = save_random_model(tmp_path / "hf", FAMILIES[name].config)
    # To one path: args.tokenizer_model and the metadata name it.
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    assert len(streams) == 1 and streams[0] is not None
    (tmp_path / "root").rename(tmp_path / "streamed")
    save_loaded(hf, tmp_path / "root")
    assert_same_checkpoint(tmp_path / "root/release", tmp_path / "streamed/release")
    # And the entries of upstream's own writer are among them.
    AutoBridge.import_ckpt(hf, tmp_path / "default")
    entries, others = read_entries(tmp_path / "default/iter_0000000"), read_entries(tmp_path / "streamed/release")
    assert entries.keys() <= others.keys()
    for key, entry in entries.items():
        if isinstance(entry, torch.Tensor):
            assert same_bits(others[key], entry), key


def _float32(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.float() * 1.001 for name, tensor in tensors.items()}


def _mixed(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    dtypes = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
    return {name: tensor.to(dtypes[at % 4]) for at, (name, tensor) in enumerate(tensors.items())}


@pytest.mark.parametrize("spoil", [_float32, _mixed], ids=["float32", "mixed dtypes"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float16"])
def test_streamed_release_casts_weights_like_saved_release(spoil, dtype, tmp_path, streams):
    hf = save_random_model(tmp_path / "hf", FAMILIES["Qwen2 (QKV bias)"].config)
    save_file(spoil(load_file(hf / "model.safetensors")), hf / "model.safetensors", {"format": "pt"})
    change_config(hf, dtype=dtype)
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    assert streams[0] is not None
    (tmp_path / "root").rename(tmp_path / "streamed")
    save_loaded(hf, tmp_path / "root")
    assert_same_checkpoint(tmp_path / "root/release", tmp_path / "streamed/release")


@pytest.fixture(scope="module")
def ranks(tmp_path_factory) -> Path:
    """A model with experts, imported by one, two, three and four ranks."""
    out = tmp_path_factory.mktemp("ranks")
    hf = save_random_model(out / "hf", FAMILIES["Qwen3-MoE (experts, qk-norm)"].config)
    run_worker("ranks_worker", hf, out, 1, 2, 3, 4, OMP_NUM_THREADS="1")
    return out


@pytest.mark.parametrize("number", [2, 3, 4])
def test_checkpoint_is_equal_for_any_number_of_ranks(ranks, number):
    assert_same_checkpoint(ranks / "ranks1/release", ranks / f"ranks{number}/release", world_size=number)
    assert check(ranks / f"ranks{number}").problems == []
    writers = {path.name.split("_")[2] for path in (ranks / f"ranks{number}/release").glob("*.distcp")}
    assert writers == {str(rank) for rank in range(number)}


def test_import_streams_model_from_many_files(tmp_path, streams):
    hf = save_random_model(tmp_path / "hf", FAMILIES["Llama 2"].config)
    tensors = load_file(hf / "model.safetensors")
    (hf / "model.safetensors").unlink()
    files = {name: f"model-{at:05}-of-{len(tensors):05}.safetensors" for at, name in enumerate(tensors)}
    for name, tensor in tensors.items():
        save_file({name: tensor}, hf / files[name], {"format": "pt"})
    (hf / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    (tmp_path / "root").rename(tmp_path / "streamed")
    save_loaded(hf, tmp_path / "root")
    assert_same_checkpoint(tmp_path / "root/release", tmp_path / "streamed/release")


def test_fused_experts_tensor_is_read_once(tmp_path, monkeypatch, streams):
    """As GPT-OSS has them, and a Qwen3-MoE whose down projections stand in one tensor."""
    hf = save_random_model(tmp_path / "hf", FAMILIES["Qwen3-MoE (experts, qk-norm)"].config)
    tensors = load_file(hf / "model.safetensors")
    for layer in range(2):
        experts = f"model.layers.{layer}.mlp.experts."
        tensors[f"{experts}down_proj"] = torch.stack(
            [tensors.pop(f"{experts}{expert}.down_proj.weight") for expert in range(4)]
        )
    save_file(tensors, hf / "model.safetensors", {"format": "pt"})
    registry_of = Qwen3MoEBridge.mapping_registry
    down = "decoder.layers.*.mlp.experts.linear_fc2.weight*"

    def fused(self: Qwen3MoEBridge) -> MegatronMappingRegistry:
        others = [mapping for mapping in registry_of(self) if mapping.megatron_param != down]
        return MegatronMappingRegistry(*others, FusedExpertMapping(down, "model.layers.*.mlp.experts.down_proj"))

    monkeypatch.setattr(Qwen3MoEBridge, "mapping_registry", fused)
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    weights = weights_of(streams[0])
    assert [weights.read[f"model.layers.{layer}.mlp.experts.down_proj"] for layer in range(2)] == [1, 1]
    (tmp_path / "root").rename(tmp_path / "streamed")
    save_loaded(hf, tmp_path / "root")
    assert_same_checkpoint(tmp_path / "root/release", tmp_path / "streamed/release")


def test_streamed_release_matches_after_in_place_conversion(tmp_path, monkeypatch, streams):
    hf = save_random_model(tmp_path / "hf", FAMILIES["Llama 2"].config)
    convert = AutoMapping.hf_to_megatron

    def doubles(self: AutoMapping, weights: torch.Tensor, module: Any) -> torch.Tensor:
        return convert(self, weights.mul_(2) if weights.dim() == 2 else weights, module)

    monkeypatch.setattr(AutoMapping, "hf_to_megatron", doubles)
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    assert streams[0] is not None
    (tmp_path / "root").rename(tmp_path / "streamed")
    save_loaded(hf, tmp_path / "root")
    assert_same_checkpoint(tmp_path / "root/release", tmp_path / "streamed/release")


def test_model_changed_by_a_hook_is_loaded_whole_with_a_log(tmp_path, capsys, monkeypatch, streams):
    hf = save_random_model(tmp_path / "hf", FAMILIES["Llama 2"].config)
    provider_of = AutoBridge.to_megatron_provider

    def hooked(self: AutoBridge, *arguments: Any, **keywords: Any) -> Any:
        provider = provider_of(self, *arguments, **keywords)
        provider.register_pre_wrap_hook(lambda models: models)
        return provider

    monkeypatch.setattr(AutoBridge, "to_megatron_provider", hooked)
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    assert streams == [None]
    assert (
        "Streaming is not supported for this model (GPTModelProvider has hooks that change the model)"
        in capsys.readouterr().out
    )
    monkeypatch.undo()
    (tmp_path / "root").rename(tmp_path / "whole")
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    assert_same_checkpoint(tmp_path / "root/release", tmp_path / "whole/release")


def test_low_memory_save_writes_same_release(tmp_path, streams):
    hf = save_random_model(tmp_path / "hf", FAMILIES["Llama 2"].config)
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True, low_memory_save=True)
    assert streams[0] is not None and len(streams[0]) == 1
    (tmp_path / "root").rename(tmp_path / "low")
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    assert_same_checkpoint(tmp_path / "root/release", tmp_path / "low/release")


def test_streamed_import_uses_less_memory_than_model(tmp_path):
    """A model of 400 MB, nearly all of it in three tensors that are copied as they are."""
    config = LlamaConfig(
        vocab_size=131072, hidden_size=512, intermediate_size=1024, num_hidden_layers=1, num_attention_heads=4
    )
    hf = save_random_model(tmp_path / "hf", config)
    bridge = AutoBridge.from_hf_pretrained(hf)

    with temporary_distributed_context(backend="gloo"):
        report = check_fidelity(bridge, tokenizer_path=hf)
        before = anonymous(os.getpid())
        model = streamed_model(bridge, report)
        weights = sum(parameter.nbytes for parameter in model[0].parameters())
        assert weights > 2.6e8 and anonymous(os.getpid()) - before < 0.1 * weights
        bridge.save_megatron_model(model, tmp_path / "root", release=True)
        assert anonymous(os.getpid()) - before < 0.3 * weights


@pytest.mark.parametrize("name", ["as it is", "with a NaN"])
def test_object_store_uses_megatron_core_and_refuses_nan(name, tmp_path, capsys, monkeypatch):
    """Megatron Core's client of object stores, which takes a local folder for one."""
    hf = save_random_model(tmp_path / "hf", FAMILIES["Llama 2"].config)
    if name != "as it is":
        tensors = load_file(hf / "model.safetensors")
        tensors["model.norm.weight"][3] = float("nan")
        save_file(tensors, hf / "model.safetensors", {"format": "pt"})
    monkeypatch.setattr(MultiStorageClientFeature, "_enabled", True)
    if name == "as it is":
        AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
        assert (
            "Streaming is not supported for this model (Megatron Core writes to the object store)"
            in capsys.readouterr().out
        )
        monkeypatch.undo()
        AutoBridge.import_ckpt(hf, tmp_path / "streamed", release=True)
        entries, others = read_entries(tmp_path / "root/release"), read_entries(tmp_path / "streamed/release")
        tensors = {key for key, entry in entries.items() if isinstance(entry, torch.Tensor)}
        assert entries.keys() == others.keys() and len(tensors) > 10
        assert all(torch.equal(entries[key], others[key]) for key in tensors)
    else:
        with pytest.raises(NonFiniteError) as raised:
            AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
        assert (raised.value.key, raised.value.value) == ("decoder.final_layernorm.weight", "NaN")
        assert not (tmp_path / "root" / TRACKER).exists()


def test_manifest_checksums_match_written_files(tiny):
    folder = tiny.root / "release"
    files = json.loads((folder / "integrity.json").read_text())["files"]
    assert sum(name.endswith(".distcp") for name in files) == 4
    for name, digest in files.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name


def test_conversions_are_admitted_by_their_bytes(tmp_path, monkeypatch):
    """With no room at all, each conversion is alone, and all of them are made."""
    converted, under_way, most = streaming.StreamedWeights._converted, [], 0

    def counted(self: streaming.StreamedWeights, *arguments: Any) -> Any:
        nonlocal most
        under_way.append(self)
        most = max(most, len(under_way))
        # Long enough for the other threads to come to theirs.
        time.sleep(0.01)
        yield from converted(self, *arguments)
        under_way.pop()

    monkeypatch.setattr(streaming.StreamedWeights, "_converted", counted)
    hf = save_random_model(tmp_path / "hf", LlamaConfig(**DENSE | {"num_hidden_layers": 8}))
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    assert most > 1
    (tmp_path / "root").rename(tmp_path / "streamed")
    monkeypatch.setenv("MEGATRON_BRIDGE_IMPORT_MEMORY", "1")
    most = 0
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    assert most == 1
    assert_same_checkpoint(tmp_path / "root/release", tmp_path / "streamed/release")


def test_memory_estimate_includes_wider_source_dtype(tmp_path, monkeypatch):
    """The files' values, as they are converted, and rounded: of float32 for bfloat16, five times what is written."""
    hf = save_random_model(tmp_path / "hf", FAMILIES["Llama 2"].config)
    file = hf / "model.safetensors"
    save_file(_float32(load_file(file)), file, {"format": "pt"})
    counted, work_items = [], writing._Writer._work_items

    def noting(self: Any, items: Any) -> Any:
        made = work_items(self, items)
        counted.extend((item.size, item.memory) for item in made if item.memory)
        return made

    monkeypatch.setattr(writing._Writer, "_work_items", noting)
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    assert counted and all(memory >= 5 * size for size, memory in counted)


def test_release_is_equal_when_torch_archive_layout_is_unknown(tmp_path, monkeypatch):
    """torch's zip writer may divide its writes in another way: then each tensor is saved with `torch.save`."""
    hf = save_random_model(tmp_path / "hf", FAMILIES["Llama 2"].config)
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    (tmp_path / "root").rename(tmp_path / "streamed")
    save = torch.save

    def save_in_pieces(value: Any, file: Any) -> None:
        save(value, file if isinstance(file, io.BytesIO) else CutWrites(file, 7))

    monkeypatch.setattr(entry_file.torch, "save", save_in_pieces)
    entry_file.is_layout_known.cache_clear()
    try:
        AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
        assert entry_file.is_layout_known() is False
    finally:
        entry_file.is_layout_known.cache_clear()
    assert check(tmp_path / "root").problems == []
    assert_same_checkpoint(tmp_path / "root/release", tmp_path / "streamed/release")


def test_imported_release_passes_check(tiny):
    assert check(tiny.root).passed
