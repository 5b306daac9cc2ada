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

"""Whatever goes wrong in a streamed import is the error that is raised, and nothing is published."""

import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from expected_errors import raises
from hf_tensors import assert_exported
from megatron.core import parallel_state
from models import FAMILIES, save_random_model
from safetensors.torch import load_file, save_file
from streamed import begin_streaming
from torch.distributed.checkpoint import CheckpointException

from megatron.bridge import AutoBridge
from megatron.bridge.package_info import MAJOR, MINOR
from megatron.bridge.release.source.errors import FileChangedError
from megatron.bridge.release.validation.fidelity import check_fidelity
from megatron.bridge.release.write import streaming
from megatron.bridge.release.write import writer as writing
from megatron.bridge.release.write.entry_file import EntryFile, Payload
from megatron.bridge.release.write.errors import EnvironmentVariableError, NoWeightsError, SaveFormatError
from megatron.bridge.release.write.save import save_release
from megatron.bridge.release.write.streaming import streamed_model, weights_of
from megatron.bridge.training.model_load_save import save_megatron_model, temporary_distributed_context


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
def test_source_changed_during_the_import_is_an_error(change, when, tmp_path, monkeypatch):
    hf = save_random_model(tmp_path / "hf", FAMILIES["Llama 2"].config)
    file, entries = hf / "model.safetensors", []
    write = EntryFile.write_entry

    def changing(self: EntryFile, payload: Payload) -> Any:
        entries.append(payload)
        if len(entries) == 12:
            change(file)
        return write(self, payload)

    with temporary_distributed_context(backend="gloo"):
        _, model = begin_streaming(hf)
        if when.startswith("before"):
            change(file)
        elif when.startswith("after"):
            monkeypatch.setattr(EntryFile, "write_entry", changing)
        else:
            run = writing._run
            monkeypatch.setattr(writing, "_run", lambda threads, stop: (run(threads, stop), change(file)))
        with raises(FileChangedError(file)):
            # As an import, which does not check the source again.
            save_release(model, tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_source_with_changed_headers_is_refused(tmp_path):
    hf = save_random_model(tmp_path / "hf", FAMILIES["Llama 2"].config)
    with temporary_distributed_context(backend="gloo"):
        bridge = AutoBridge.from_hf_pretrained(hf)
        report = check_fidelity(bridge)
        _other_dtype(hf / "model.safetensors")
        with raises(FileChangedError(hf / "model.safetensors")):
            model = streamed_model(bridge, report)
            bridge.save_megatron_model(model, tmp_path / "root", release=True)
    assert not (tmp_path / "root").exists()


class _NotForPickle(Exception):
    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} {other}")


# Errors are made where they are raised: one made here would keep its frames, and the models in them, for all later tests.
@pytest.mark.parametrize(
    ("kind", "words"), [(_NotForPickle, ("not", "so")), (SystemExit, ("ended",)), (MemoryError, ("no room",))]
)
def test_conversion_error_is_raised_and_nothing_is_published(kind, words, tmp_path, monkeypatch):
    hf = save_random_model(tmp_path / "hf", FAMILIES["Llama 2"].config)

    def fails(*_: Any) -> Any:
        raise kind(*words)

    monkeypatch.setattr(streaming.StreamedWeights, "_converted", fails)
    with pytest.raises(BaseException, match=" ".join(words)) as raised:
        AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    assert isinstance(raised.value, RuntimeError if kind is _NotForPickle else kind)
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(("kind", "words"), [(RuntimeError, "can't start new thread"), (KeyboardInterrupt, "")])
def test_thread_that_cannot_start_is_an_error_without_leftovers(kind, words, tmp_path, monkeypatch):
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


@pytest.mark.skipif((MAJOR, MINOR) >= (0, 7), reason="from 0.7 the groups are made by upstream, which leaves them")
def test_import_works_after_an_interrupt_of_group_creation(tmp_path, monkeypatch):
    hf = save_random_model(tmp_path / "hf", FAMILIES["Llama 2"].config)

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(parallel_state, "create_hierarchical_groups", interrupted)
        context.setattr(parallel_state.RankGenerator, "get_ranks", interrupted)
        with pytest.raises(KeyboardInterrupt):
            AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    assert_exported(hf, tmp_path / "root", tmp_path / "exported")


def test_model_without_weights_becomes_a_release_or_an_error(tmp_path):
    hf = save_random_model(tmp_path / "hf", FAMILIES["Llama 2"].config)
    with temporary_distributed_context(backend="gloo"):
        bridge, model = begin_streaming(hf)
        with pytest.raises(NoWeightsError):
            bridge.save_megatron_model(model, tmp_path / "root")
        for ckpt_format in ("zarr", "fsdp_dtensor", "torch"):
            with pytest.raises(SaveFormatError) as raised:
                save_megatron_model(model, tmp_path / "root", ckpt_format=ckpt_format, release=True)
            assert raised.value.ckpt_format == ckpt_format
    assert not list(tmp_path.rglob("*.distcp"))


@pytest.mark.parametrize("times", [-1, 1])
def test_tensor_read_too_rarely_or_often_is_not_published(times, tmp_path):
    hf = save_random_model(tmp_path / "hf", FAMILIES["Llama 2"].config)
    with temporary_distributed_context(backend="gloo"):
        bridge, model = begin_streaming(hf)
        weights_of(model).read["model.norm.weight"] += times
        with pytest.raises(RuntimeError, match=f"model.norm.weight was read {1 + times} times instead of 1 "):
            bridge.save_megatron_model(model, tmp_path / "root", release=True)
    assert not (tmp_path / "root").exists()


def test_import_publishes_nothing_when_entries_are_missing(tmp_path, monkeypatch):
    hf = save_random_model(tmp_path / "hf", FAMILIES["Llama 2"].config)
    work_items = writing._Writer._work_items
    monkeypatch.setattr(writing._Writer, "_work_items", lambda self, items: work_items(self, items)[:-1])
    with pytest.raises(RuntimeError, match="entries were written instead of"):
        AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    assert not (tmp_path / "root").exists()


def test_loader_never_mixes_tensors_when_release_is_replaced(tiny, other, tmp_path, monkeypatch):
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


@pytest.mark.parametrize("text", ["1GB", "-1", "٣"])
def test_import_refuses_invalid_memory_budget(text, tmp_path, monkeypatch):
    hf = save_random_model(tmp_path / "hf", FAMILIES["Llama 2"].config)
    monkeypatch.setenv("MEGATRON_BRIDGE_IMPORT_MEMORY", text)
    with pytest.raises(EnvironmentVariableError) as raised:
        AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    assert (raised.value.name, raised.value.value) == ("MEGATRON_BRIDGE_IMPORT_MEMORY", text)
    assert not (tmp_path / "root").exists()
