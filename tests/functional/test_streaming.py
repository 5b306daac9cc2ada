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

"""A streamed release is, entry by entry and bit by bit, what a save of the loaded model is; or none is published."""

import hashlib
import io
import json
import os
import shutil
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from attention_backend import forget_attention_backend
from hf_tensors import same_bits
from megatron.core import parallel_state
from megatron.core.dist_checkpointing.serialization import load_common_state_dict
from megatron.core.msc_utils import MultiStorageClientFeature
from memory import anonymous
from models import FAMILIES, save_random_model
from roots import TRACKER
from safetensors.torch import load_file, save_file
from torch.distributed.checkpoint import CheckpointException, FileSystemReader
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import TensorWriteData, WriteItem, WriteItemType
from transformers import LlamaConfig
from workers import run_worker

from megatron.bridge import AutoBridge
from megatron.bridge.models.conversion.mapping_registry import MegatronMappingRegistry
from megatron.bridge.models.conversion.param_mapping import AutoMapping, FusedExpertMapping
from megatron.bridge.models.qwen.qwen3_moe_bridge import Qwen3MoEBridge
from megatron.bridge.training.model_load_save import save_megatron_model, temporary_distributed_context
from megatron.bridge.training.release import streaming, writing
from megatron.bridge.training.release.entry_file import EntryFile
from megatron.bridge.training.release.faithful import require_faithful
from megatron.bridge.training.release.headers import read_headers
from megatron.bridge.training.release.hf_files import FileRange, HuggingFaceFiles, stamp
from megatron.bridge.training.release.streaming import streamed_model, weights_of
from megatron.bridge.training.release.units import Content, share
from megatron.bridge_release.checking import check


def _entries(folder: Path) -> dict[str, Any]:
    """Read every entry of a checkpoint folder, by its key and its place in the tensor."""
    metadata = FileSystemReader(folder).read_metadata()
    found = {}
    for index, place in metadata.storage_data.items():
        with open(folder / place.relative_path, "rb") as file:
            file.seek(place.offset)
            data = file.read(place.length)
        key = (index.fqn, tuple(index.offset or ()))
        try:
            found[key] = torch.load(io.BytesIO(data), weights_only=True)
        except Exception:
            found[key] = data
    return found


def _assert_equal(one: Path, other: Path, world_size: int = 1) -> None:
    """Compare metadata, common state and all tensors of two checkpoint folders; the second is of so many ranks."""
    expected, found = (FileSystemReader(folder).read_metadata() for folder in (one, other))
    for metadata in (expected, found) if world_size > 1 else ():
        # In the order of the ranks that wrote them.
        for tensor in metadata.state_dict_metadata.values():
            if isinstance(tensor, TensorStorageMetadata):
                tensor.chunks.sort(key=lambda chunk: chunk.offsets)
    assert found.state_dict_metadata == expected.state_dict_metadata
    assert found.planner_data == expected.planner_data
    entries, others = _entries(one), _entries(other)
    assert entries.keys() == others.keys() and len(entries) > 10
    tensors = 0
    for key, entry in entries.items():
        if isinstance(entry, torch.Tensor):
            tensors += 1
            assert same_bits(others[key], entry), key
    assert tensors > 10
    commons = [load_common_state_dict(str(folder)) for folder in (one, other)]
    sizes = dict.fromkeys(("world_size", "data_parallel_size", "inprocess_active_world_size"), world_size)
    assert vars(commons[0].pop("args")) | sizes == vars(commons[1].pop("args"))
    assert commons[0] == commons[1]


def _save_loaded(hf: Path, root: Path) -> None:
    """Load the model whole, as upstream's code does, and save it."""
    bridge = AutoBridge.from_hf_pretrained(hf)
    with temporary_distributed_context(backend="gloo"):
        require_faithful(bridge, tokenizer_path=hf)
        model = bridge.to_megatron_model(wrap_with_ddp=False, use_cpu_initialization=True)
        assert weights_of(model) is None
        bridge.save_megatron_model(model, root, hf_tokenizer_path=hf, release=True)


@pytest.fixture
def streams(monkeypatch) -> list[Any]:
    """The models that are streamed."""
    seen: list[Any] = []
    made = streaming.streamed_model

    def note(*arguments: Any) -> Any:
        seen.append(made(*arguments))
        return seen[-1]

    monkeypatch.setattr(streaming, "streamed_model", note)
    return seen


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if not family.needs])
def test_each_family_s_streamed_release_is_the_saved_one(name, tmp_path, monkeypatch, streams):
    forget_attention_backend(monkeypatch)
    hf = save_random_model(tmp_path / "hf", FAMILIES[name].config)
    # To one path: args.tokenizer_model and the metadata name it.
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    assert len(streams) == 1 and streams[0] is not None
    (tmp_path / "root").rename(tmp_path / "streamed")
    _save_loaded(hf, tmp_path / "root")
    _assert_equal(tmp_path / "root/release", tmp_path / "streamed/release")
    # And the entries of upstream's own writer are among them.
    AutoBridge.import_ckpt(hf, tmp_path / "default")
    entries, others = _entries(tmp_path / "default/iter_0000000"), _entries(tmp_path / "streamed/release")
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
def test_a_streamed_release_is_rounded_as_the_saved_one(spoil, dtype, tmp_path, streams):
    hf = save_random_model(tmp_path / "hf", FAMILIES["Qwen2 (QKV bias)"].config)
    save_file(spoil(load_file(hf / "model.safetensors")), hf / "model.safetensors", {"format": "pt"})
    config = json.loads((hf / "config.json").read_text())
    (hf / "config.json").write_text(json.dumps(config | {"dtype": dtype}))
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    assert streams[0] is not None
    (tmp_path / "root").rename(tmp_path / "streamed")
    _save_loaded(hf, tmp_path / "root")
    _assert_equal(tmp_path / "root/release", tmp_path / "streamed/release")


@pytest.fixture(scope="module")
def ranks(tmp_path_factory) -> Path:
    """A model with experts, imported by one, two, three and four ranks."""
    out = tmp_path_factory.mktemp("ranks")
    hf = save_random_model(out / "hf", FAMILIES["Qwen3-MoE (experts, qk-norm)"].config)
    run_worker("ranks_worker", hf, out, 1, 2, 3, 4, OMP_NUM_THREADS="1")
    return out


@pytest.mark.parametrize("number", [2, 3, 4])
def test_any_number_of_ranks_write_the_same_checkpoint(ranks, number):
    _assert_equal(ranks / "ranks1/release", ranks / f"ranks{number}/release", world_size=number)
    assert check(ranks / f"ranks{number}").problems == []
    writers = {path.name.split("_")[2] for path in (ranks / f"ranks{number}/release").glob("*.distcp")}
    assert writers == {str(rank) for rank in range(number)}


def test_a_model_in_many_files_is_streamed_from_all_of_them(tmp_path, streams):
    hf = save_random_model(tmp_path / "hf", FAMILIES["Llama 2"].config)
    tensors = load_file(hf / "model.safetensors")
    (hf / "model.safetensors").unlink()
    files = {name: f"model-{at:05}-of-{len(tensors):05}.safetensors" for at, name in enumerate(tensors)}
    for name, tensor in tensors.items():
        save_file({name: tensor}, hf / files[name], {"format": "pt"})
    (hf / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    (tmp_path / "root").rename(tmp_path / "streamed")
    _save_loaded(hf, tmp_path / "root")
    _assert_equal(tmp_path / "root/release", tmp_path / "streamed/release")


def test_experts_in_one_tensor_are_read_once_and_together(tmp_path, monkeypatch, streams):
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
    down = "decoder.layers.*.mlp.experts.local_experts.*.linear_fc2.weight"

    def fused(self: Qwen3MoEBridge) -> MegatronMappingRegistry:
        others = [mapping for mapping in registry_of(self) if mapping.megatron_param != down]
        return MegatronMappingRegistry(*others, FusedExpertMapping(down, "model.layers.*.mlp.experts.down_proj"))

    monkeypatch.setattr(Qwen3MoEBridge, "mapping_registry", fused)
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    weights = weights_of(streams[0])
    assert [weights.read[f"model.layers.{layer}.mlp.experts.down_proj"] for layer in range(2)] == [1, 1]
    (tmp_path / "root").rename(tmp_path / "streamed")
    _save_loaded(hf, tmp_path / "root")
    _assert_equal(tmp_path / "root/release", tmp_path / "streamed/release")


def test_a_conversion_that_changes_its_tensor_in_place_is_no_copy(tmp_path, monkeypatch, streams):
    hf = save_random_model(tmp_path / "hf", FAMILIES["Llama 2"].config)
    convert = AutoMapping.hf_to_megatron

    def doubles(self: AutoMapping, weights: torch.Tensor, module: Any) -> torch.Tensor:
        return convert(self, weights.mul_(2) if weights.dim() == 2 else weights, module)

    monkeypatch.setattr(AutoMapping, "hf_to_megatron", doubles)
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    assert streams[0] is not None
    (tmp_path / "root").rename(tmp_path / "streamed")
    _save_loaded(hf, tmp_path / "root")
    _assert_equal(tmp_path / "root/release", tmp_path / "streamed/release")


def test_a_model_that_a_hook_changes_is_loaded_whole_and_it_is_said(tmp_path, capsys, monkeypatch, streams):
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
        "is loaded whole before it is written: GPTModelProvider changes it after it is built."
        in capsys.readouterr().out
    )
    monkeypatch.undo()
    (tmp_path / "root").rename(tmp_path / "whole")
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    _assert_equal(tmp_path / "root/release", tmp_path / "whole/release")


def test_the_option_of_little_memory_is_accepted_and_changes_nothing(tmp_path, streams):
    hf = save_random_model(tmp_path / "hf", FAMILIES["Llama 2"].config)
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True, low_memory_save=True)
    assert streams[0] is not None and len(streams[0]) == 1
    (tmp_path / "root").rename(tmp_path / "low")
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    _assert_equal(tmp_path / "root/release", tmp_path / "low/release")


def test_the_model_s_memory_is_never_touched(tmp_path):
    """A model of 400 MB, nearly all of it in three tensors that are copied as they are."""
    config = LlamaConfig(
        vocab_size=131072, hidden_size=512, intermediate_size=1024, num_hidden_layers=1, num_attention_heads=4
    )
    hf = save_random_model(tmp_path / "hf", config)
    bridge = AutoBridge.from_hf_pretrained(hf)

    with temporary_distributed_context(backend="gloo"):
        accounted = require_faithful(bridge, tokenizer_path=hf)
        before = anonymous(os.getpid())
        model = streamed_model(bridge, accounted)
        weights = sum(parameter.nbytes for parameter in model[0].parameters())
        assert weights > 2.6e8 and anonymous(os.getpid()) - before < 0.1 * weights
        bridge.save_megatron_model(model, tmp_path / "root", release=True)
        assert anonymous(os.getpid()) - before < 0.3 * weights


def _begin(hf: Path) -> tuple[AutoBridge, list[Any]]:
    bridge = AutoBridge.from_hf_pretrained(hf)
    model = streamed_model(bridge, require_faithful(bridge))
    assert model is not None
    return bridge, model


def _cut(file: Path) -> None:
    os.truncate(file, int(0.9 * file.stat().st_size))


def _other_dtype(file: Path) -> None:
    save_file({name: tensor.half() for name, tensor in load_file(file).items()}, file, {"format": "pt"})


def _other_shape(file: Path) -> None:
    save_file({name: tensor.t().contiguous() for name, tensor in load_file(file).items()}, file, {"format": "pt"})


def _other_values(file: Path) -> None:
    save_file({name: tensor * 2 for name, tensor in load_file(file).items()}, file, {"format": "pt"})


def _less(file: Path) -> None:
    tensors = load_file(file)
    del tensors["model.layers.1.self_attn.q_proj.weight"]
    save_file(tensors, file, {"format": "pt"})


def _one_byte(file: Path) -> None:
    with open(file, "r+b") as opened:
        opened.seek(-1, os.SEEK_END)
        opened.write(b"!")


@pytest.mark.parametrize("change", [_cut, _other_dtype, _other_shape, _other_values, _less, _one_byte])
@pytest.mark.parametrize("when", ["before the first is opened", "after half of them were written", "at the end"])
def test_a_source_that_changes_meanwhile_is_an_error_that_names_it(change, when, tmp_path, monkeypatch):
    hf = save_random_model(tmp_path / "hf", FAMILIES["Llama 2"].config)
    file, entries = hf / "model.safetensors", []
    write = EntryFile.write_entry

    def changing(self: EntryFile, content: Content) -> Any:
        entries.append(content)
        if len(entries) == 12:
            change(file)
        return write(self, content)

    with temporary_distributed_context(backend="gloo"):
        bridge, model = _begin(hf)
        if when.startswith("before"):
            change(file)
        elif when.startswith("after"):
            monkeypatch.setattr(EntryFile, "write_entry", changing)
        else:
            run = writing._run
            monkeypatch.setattr(writing, "_run", lambda threads, stop: (run(threads, stop), change(file)))
        with pytest.raises(ValueError, match=f"{file} has changed while it was read"):
            bridge.save_megatron_model(model, tmp_path / "root", release=True)
    assert not (tmp_path / "root").exists()


def test_a_source_whose_headers_have_changed_since_they_were_read_is_refused(tmp_path):
    hf = save_random_model(tmp_path / "hf", FAMILIES["Llama 2"].config)
    with temporary_distributed_context(backend="gloo"):
        bridge = AutoBridge.from_hf_pretrained(hf)
        accounted = require_faithful(bridge)
        _other_dtype(hf / "model.safetensors")
        with pytest.raises(ValueError, match="model.safetensors has changed while it was read"):
            model = streamed_model(bridge, accounted)
            bridge.save_megatron_model(model, tmp_path / "root", release=True)
    assert not (tmp_path / "root").exists()


class _NotForPickle(Exception):
    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} {other}")


# Errors are made where they are raised: one made here would keep its frames, and the models in them, for all later tests.
@pytest.mark.parametrize(
    ("kind", "words"), [(_NotForPickle, ("not", "so")), (SystemExit, ("ended",)), (MemoryError, ("no room",))]
)
def test_an_error_of_a_conversion_is_told_as_it_is(kind, words, tmp_path, monkeypatch):
    hf = save_random_model(tmp_path / "hf", FAMILIES["Llama 2"].config)

    def fails(*_: Any) -> Any:
        raise kind(*words)

    monkeypatch.setattr(streaming.StreamedWeights, "_converted", fails)
    with pytest.raises(BaseException, match=" ".join(words)) as raised:
        AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    assert isinstance(raised.value, RuntimeError if kind is _NotForPickle else kind)
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(("kind", "words"), [(RuntimeError, "can't start new thread"), (KeyboardInterrupt, "")])
def test_a_thread_that_does_not_start_is_the_error_and_no_thread_stays(kind, words, tmp_path, monkeypatch):
    hf = save_random_model(tmp_path / "hf", FAMILIES["Llama 2"].config)
    start, started = threading.Thread.start, []

    def starts(thread: threading.Thread) -> None:
        if "(write)" in thread.name:
            started.append(thread)
            if len(started) == 2:
                raise kind(words)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", starts)
    with pytest.raises(kind, match=words):
        AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    assert len(started) == 2 and not any(thread.is_alive() for thread in started)
    assert not (tmp_path / "root").exists()


def test_after_an_interrupt_while_the_groups_are_made_another_import_goes(tmp_path, monkeypatch):
    hf = save_random_model(tmp_path / "hf", FAMILIES["Llama 2"].config)

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(parallel_state, "create_hierarchical_groups", interrupted)
        context.setattr(parallel_state.RankGenerator, "get_ranks", interrupted)
        with pytest.raises(KeyboardInterrupt):
            AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    assert check(tmp_path / "root").loadable


def test_a_model_without_its_weights_is_saved_as_a_release_or_not_at_all(tmp_path):
    hf = save_random_model(tmp_path / "hf", FAMILIES["Llama 2"].config)
    with temporary_distributed_context(backend="gloo"):
        bridge, model = _begin(hf)
        with pytest.raises(ValueError, match="in its Hugging Face files still: save it with release=True"):
            bridge.save_megatron_model(model, tmp_path / "root")
        with pytest.raises(ValueError, match="in its Hugging Face files still: save it with release=True"):
            save_megatron_model(model, tmp_path / "root", ckpt_format="zarr", release=True)
    assert not list(tmp_path.rglob("*.distcp"))


@pytest.mark.parametrize("name", ["as it is", "with a NaN"])
def test_an_object_store_is_written_by_megatron_core_and_takes_no_nan(name, tmp_path, capsys, monkeypatch):
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
            "loaded whole before it is written: Megatron Core writes to the object store." in capsys.readouterr().out
        )
        monkeypatch.undo()
        AutoBridge.import_ckpt(hf, tmp_path / "streamed", release=True)
        entries, others = _entries(tmp_path / "root/release"), _entries(tmp_path / "streamed/release")
        tensors = {key for key, entry in entries.items() if isinstance(entry, torch.Tensor)}
        assert entries.keys() == others.keys() and len(tensors) > 10
        assert all(torch.equal(entries[key], others[key]) for key in tensors)
    else:
        with pytest.raises(ValueError, match="decoder.final_layernorm.weight has values that are no numbers"):
            AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
        assert not (tmp_path / "root" / TRACKER).exists()


@pytest.mark.parametrize("times", [-1, 1])
def test_a_tensor_that_is_not_read_as_often_as_accounted_for_is_never_published(times, tmp_path):
    hf = save_random_model(tmp_path / "hf", FAMILIES["Llama 2"].config)
    with temporary_distributed_context(backend="gloo"):
        bridge, model = _begin(hf)
        weights_of(model).read["model.norm.weight"] += times
        with pytest.raises(RuntimeError, match=f"model.norm.weight was read {1 + times} times, and 1 times"):
            bridge.save_megatron_model(model, tmp_path / "root", release=True)
    assert not (tmp_path / "root").exists()


def test_a_plan_that_is_not_written_whole_is_never_published(tmp_path, monkeypatch):
    hf = save_random_model(tmp_path / "hf", FAMILIES["Llama 2"].config)
    units = writing._Writer._units
    monkeypatch.setattr(writing._Writer, "_units", lambda self, items: units(self, items)[:-1])
    with pytest.raises(RuntimeError, match="entries were written, and"):
        AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    assert not (tmp_path / "root").exists()


def test_the_checksums_made_while_writing_are_those_of_the_files(tiny):
    folder = tiny.root / "release"
    files = json.loads((folder / "integrity.json").read_text())["files"]
    assert sum(name.endswith(".distcp") for name in files) == 4
    for name, digest in files.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name


def test_a_loader_never_takes_tensors_of_two_models(tiny, other, tmp_path, monkeypatch):
    """The release is replaced before each of a loader's opens: it loads the old, the new, or misses a file."""
    bridge = AutoBridge.from_hf_pretrained(tiny.hf)
    opens, seen = Path.open, []

    def load(root: Path) -> dict[str, torch.Tensor]:
        with temporary_distributed_context(backend="gloo"):
            model = bridge.load_megatron_model(root, wrap_with_ddp=False)[0]
            return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}

    def are(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
        return all(torch.equal(one[name], tensor) for name, tensor in other.items())

    old, new = load(tiny.root), load(other.root)
    assert not any(torch.equal(old[name], new[name]) for name in old)
    # At last it is not replaced: the loader has opened all that it needs.
    while "old" not in seen:
        root = Path(shutil.copytree(tiny.root, tmp_path / f"root{len(seen)}"))
        opened = 0

        def replacing(path: Path, *arguments: Any, **keywords: Any) -> Any:
            nonlocal opened
            if root in path.parents and (path.suffix == ".distcp" or path.name == ".metadata"):
                if opened == len(seen):
                    (root / "release").rename(root / "before")
                    shutil.copytree(other.root / "release", root / "release")
                opened += 1
            return opens(path, *arguments, **keywords)

        monkeypatch.setattr(Path, "open", replacing)
        try:
            found = load(root)
            assert are(found, old) or are(found, new)
            seen.append("old" if are(found, old) else "new")
        except (CheckpointException, OSError) as error:
            assert "No such file" in str(error)
            seen.append("missing")
        monkeypatch.undo()
    assert seen[0] == "new" and "missing" in seen and len(seen) > 3, seen


def test_conversions_are_admitted_by_their_bytes(tmp_path, monkeypatch):
    """With no room at all, each conversion is alone, and all of them are made."""
    hf = save_random_model(tmp_path / "hf", FAMILIES["Llama 2"].config)
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    (tmp_path / "root").rename(tmp_path / "streamed")
    monkeypatch.setenv("MEGATRON_BRIDGE_IMPORT_MEMORY", "1")
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    _assert_equal(tmp_path / "root/release", tmp_path / "streamed/release")


def test_what_a_wider_source_takes_is_counted(tmp_path, monkeypatch):
    """The files' values, as they are converted, and rounded: of float32 for bfloat16, five times what is written."""
    hf = save_random_model(tmp_path / "hf", FAMILIES["Llama 2"].config)
    file = hf / "model.safetensors"
    save_file(_float32(load_file(file)), file, {"format": "pt"})
    counted, units = [], writing._Writer._units

    def noting(self: Any, items: Any) -> Any:
        made = units(self, items)
        counted.extend((unit.size, unit.memory) for unit in made if unit.memory)
        return made

    monkeypatch.setattr(writing._Writer, "_units", noting)
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    assert counted and all(memory >= 5 * size for size, memory in counted)


@pytest.mark.parametrize("text", ["1GB", "-1", "٣"])
def test_a_budget_that_is_no_number_is_refused(text, tmp_path, monkeypatch):
    hf = save_random_model(tmp_path / "hf", FAMILIES["Llama 2"].config)
    monkeypatch.setenv("MEGATRON_BRIDGE_IMPORT_MEMORY", text)
    with pytest.raises(ValueError, match=f"MEGATRON_BRIDGE_IMPORT_MEMORY is '{text}'. Give a number of bytes"):
        AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    assert not (tmp_path / "root").exists()


def test_a_part_of_a_file_is_read_in_pieces(tmp_path):
    (tmp_path / "file").write_bytes(bytes(range(200)))
    part = FileRange(tmp_path / "file", stamp(os.stat(tmp_path / "file")), 10, 100).cut(5, 50)
    pieces = [bytes(piece) for piece in part.chunks(memoryview(bytearray(16)))]
    assert [len(piece) for piece in pieces] == [16, 16, 16, 2]
    assert b"".join(pieces) == bytes(range(15, 65)) == bytes(part.read())


def test_tensors_of_files_are_those_of_safetensors(tmp_path):
    tensors = {
        "scalar": torch.tensor(3.5),
        "nothing": torch.empty(0, 4, dtype=torch.bfloat16),
        "whole": torch.arange(24, dtype=torch.int64).reshape(2, 3, 4),
        "half": torch.randn(5, 7).to(torch.float16),
        "eighth": torch.randn(3, 3).to(torch.float8_e4m3fn),
    }
    save_file(tensors, tmp_path / "model.safetensors")
    files = HuggingFaceFiles(tmp_path, read_headers(tmp_path))
    found = files.load_tensors(list(tensors))
    for name, tensor in tensors.items():
        assert same_bits(found[name], tensor)
    files.require_unchanged()


@pytest.mark.parametrize(
    "tensor",
    [torch.empty(0, 4), torch.tensor(3.5), torch.arange(7), torch.randn(3, 5).bfloat16(), torch.randn(700, 3000)],
    ids=lambda tensor: f"{tuple(tensor.shape)}",
)
def test_an_entry_is_what_torch_writes(tensor, tmp_path):
    """With the checksum of its bytes; the ID that torch makes of a file's checksums is another one."""
    sizes = TensorWriteData(
        ChunkStorageMetadata(tensor.shape, tensor.shape), TensorProperties(tensor.dtype), tensor.shape
    )
    item = WriteItem(MetadataIndex("key"), WriteItemType.SHARD, tensor_data=sizes)
    written: list[int] = []
    with EntryFile(tmp_path / "file", threading.Event(), written.append) as file:
        begin = file.write(b"before")
        result = file.write_entry(Content(item, tensor))
    data = (tmp_path / "file").read_bytes()
    assert hashlib.sha256(data).hexdigest() == file.digest and sum(written) == tensor.nbytes
    assert (result.storage_data.offset, result.storage_data.length) == (begin, len(data) - begin)
    expected, found = io.BytesIO(), io.BytesIO(data[begin:])
    torch.save(tensor, expected)
    assert torch.equal(torch.load(found, weights_only=True), tensor)
    with zipfile.ZipFile(expected) as one, zipfile.ZipFile(found) as other:
        assert other.testzip() is None and other.namelist() == one.namelist()
        for name in one.namelist():
            assert name.endswith("serialization_id") or other.read(name) == one.read(name), name
            assert name.endswith("serialization_id") or other.getinfo(name).CRC == one.getinfo(name).CRC, name


def test_things_are_shared_evenly_and_alike_everywhere():
    sizes = [5, 100, 7, 30, 30, 40, 1, 0]
    shares = share("abcdefgh", sizes, 3)
    assert shares == share("abcdefgh", sizes, 3)
    assert sorted("".join("".join(mine) for mine in shares)) == list("abcdefgh")
    assert [sum(sizes["abcdefgh".index(one)] for one in mine) for mine in shares] == [100, 53, 60]
    assert share([], [], 2) == [[], []]


def test_a_released_model_loads(tiny):
    assert check(tiny.root).loadable
