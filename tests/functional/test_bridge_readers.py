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

"""Every reader of Bridge that takes a checkpoint root finds the checkpoint that its tracker names."""

import shutil
from pathlib import Path
from typing import Callable

import pytest
import torch
from bridge_training import training_load
from expected_errors import raises
from hf_tensors import assert_same_tensors
from megatron.core import parallel_state
from safetensors.torch import load_file
from transformers import AutoConfig

from megatron.bridge import AutoBridge
from megatron.bridge.package_info import MAJOR, MINOR
from megatron.bridge.release.errors import InvalidTrackerError
from megatron.bridge.release.layout import TRACKER, TRAIN_STATE_TRACKER
from megatron.bridge.training import checkpointing
from megatron.bridge.training.checkpointing import _load_checkpoint_from_path, load_checkpoint
from megatron.bridge.training.model_load_save import load_megatron_model, load_model_config, load_tokenizer
from megatron.bridge.training.post_training.checkpointing import _get_modelopt_checkpoint_path
from megatron.bridge.training.state import GlobalState
from megatron.bridge.training.utils.checkpoint_utils import checkpoint_exists


# Later upstream loads this format in a way of its own.
of_pinned_upstream = pytest.mark.skipif((MAJOR, MINOR) >= (0, 7), reason="upstream's loader is another from 0.7")


def _set_tracker(root: Path, text: str) -> None:
    (root / TRACKER).write_text(text)


def _a_release(root: Path, one: Path, other: Path) -> Path:
    shutil.copytree(one, root)
    return root / "release"


def _trained_on(root: Path, one: Path, other: Path) -> Path:
    """Megatron-LM has gone on training from the release and saved; it leaves Bridge's own tracker as it was."""
    shutil.copytree(one, root)
    shutil.copytree(other / "release", root / "iter_0000005")
    _set_tracker(root, "5")
    return root / "iter_0000005"


def _behind_the_highest(root: Path, one: Path, other: Path) -> Path:
    """The tracker names another than the highest iteration."""
    shutil.copytree(one / "release", root / "iter_0000002")
    shutil.copytree(other / "release", root / "iter_0000010")
    _set_tracker(root, "2\n")
    return root / "iter_0000002"


def _upstreams_import(root: Path, one: Path, other: Path) -> Path:
    shutil.copytree(one / "release", root / "iter_0000000")
    _set_tracker(root, "0")
    shutil.copy(one / TRAIN_STATE_TRACKER, root)
    return root / "iter_0000000"


def _old_bridge(root: Path, one: Path, other: Path) -> Path:
    """No text tracker: Bridge before 0.2."""
    _upstreams_import(root, one, other)
    (root / TRACKER).unlink()
    return root / "iter_0000000"


def _the_folder_itself(root: Path, one: Path, other: Path) -> Path:
    shutil.copytree(one / "release", root)
    return root


STATES = [
    _a_release,
    _trained_on,
    _behind_the_highest,
    _upstreams_import,
    _old_bridge,
    _the_folder_itself,
]


@pytest.fixture(scope="module", params=STATES, ids=lambda state: state.__name__.strip("_").replace("_", " "))
def state(request: pytest.FixtureRequest, tiny, other, tmp_path_factory) -> tuple[Path, Path, Path]:
    """A root, the folder it stands for, and the Hugging Face model that this folder was made from."""
    root = tmp_path_factory.mktemp("state") / "root"
    folder = request.param(root, tiny.root, other.root)
    return root, folder, other.hf if request.param is _trained_on else tiny.hf


def _embedding(model: torch.nn.Module) -> torch.Tensor:
    return next(parameter for name, parameter in model.named_parameters() if "word_embeddings" in name).detach()


READERS: dict[str, Callable[[Path, Path], torch.nn.Module]] = {
    "AutoBridge.load_megatron_model": lambda root, hf: AutoBridge.from_hf_pretrained(hf).load_megatron_model(root)[0],
    "load_megatron_model": lambda root, hf: load_megatron_model(str(root))[0],
    "checkpoint.load": lambda root, hf: training_load(
        lambda state, model: load_checkpoint(state, model, None, None), hf=hf, load=str(root)
    ),
    "checkpoint.pretrained_checkpoint": lambda root, hf: training_load(
        lambda state, model: load_checkpoint(state, model, None, None), hf=hf, pretrained_checkpoint=str(root)
    ),
    "PEFT's base checkpoint": lambda root, hf: training_load(
        lambda state, model: _load_checkpoint_from_path(str(root), state, model, None, None, ignore_ckpt_step=True),
        hf=hf,
        pretrained_checkpoint=str(root),
    ),
}


@pytest.mark.parametrize("reader", READERS)
def test_readers_load_the_tracked_checkpoint(state, reader):
    root, _, hf = state
    found = _embedding(READERS[reader](root, hf))
    assert torch.equal(found, load_file(hf / "model.safetensors")["model.embed_tokens.weight"])


def test_export_follows_tracker(state, tiny, tmp_path):
    root, _, hf = state
    AutoBridge.from_hf_pretrained(tiny.hf).export_ckpt(root, tmp_path / "hf", show_progress=False)
    assert_same_tensors(tmp_path / "hf", hf)


def test_metadata_readers_follow_tracker(state):
    root, folder, hf = state
    assert AutoBridge.get_hf_model_id_from_checkpoint(root) == str(hf)
    assert load_model_config(str(root))[0].hf_model_id == str(hf)
    assert load_tokenizer(str(root)).vocab_size == AutoConfig.from_pretrained(hf).vocab_size
    assert AutoBridge.from_auto_config(str(root), str(hf)).hf_pretrained.hidden_size == 64
    assert checkpoint_exists(str(root))
    assert Path(_get_modelopt_checkpoint_path(str(root))) == folder


class _Asked(Exception):
    """Carries what the loader was about to open, or to load."""


def _fsdp_dtensor_load(root: Path, hf: Path) -> None:
    def read(state: GlobalState, model: list) -> None:
        state.cfg.checkpoint.ckpt_format = "fsdp_dtensor"
        _load_checkpoint_from_path(str(root), state, model, "an optimizer", "a scheduler")

    training_load(read, hf=hf, load=str(root))


@of_pinned_upstream
def test_fsdp_dtensor_loader_opens_the_tracked_directory(state, monkeypatch):
    # Megatron-FSDP wraps models on CUDA alone: the loader is followed up to the opening of the folder.
    def opened(folder):
        raise _Asked(folder)

    monkeypatch.setattr(checkpointing, "_get_filesystem_reader", opened)
    root, folder, hf = state
    with pytest.raises(_Asked) as asked:
        _fsdp_dtensor_load(root, hf)
    assert Path(asked.value.args[0]) == folder


@of_pinned_upstream
@pytest.mark.parametrize("make", [_a_release, _trained_on])
def test_fsdp_dtensor_loader_reads_weights_only_of_a_release(tiny, other, tmp_path, monkeypatch, make):
    def asked_for(ckpt_cfg, model, optimizer, opt_param_scheduler, rng_state, **kwargs):
        raise _Asked(optimizer, opt_param_scheduler, rng_state)

    monkeypatch.setattr(checkpointing, "generate_state_dict", asked_for)
    make(tmp_path / "root", tiny.root, other.root)
    with pytest.raises(_Asked) as asked:
        _fsdp_dtensor_load(tmp_path / "root", tiny.hf)
    if make is _a_release:
        assert asked.value.args == (None, None, None)
    else:
        assert asked.value.args[:2] == ("an optimizer", "a scheduler") and asked.value.args[2] is not None


def test_readers_report_content_of_invalid_tracker(tiny, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(tiny.root, root)
    for torn in ("", "rel", "iter_0000000", "-1", "release 5"):
        _set_tracker(root, torn)
        for reader in READERS.values():
            with raises(InvalidTrackerError(str(root / TRACKER), torn)):
                reader(root, tiny.hf)


def test_tracker_of_a_missing_directory_lists_existing_ones(tiny, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(tiny.root, root)
    (root / "iter_0000007").mkdir()
    (root / "iter_0000007.tmp").mkdir()
    _set_tracker(root, "12")
    for reader in READERS.values():
        with pytest.raises(FileNotFoundError, match="iter_0000012.*iter_0000007, release\\b"):
            reader(root, tiny.hf)


def test_second_import_in_a_process_is_read(tiny, other, tmp_path):
    root = tmp_path / "root"
    for source in (tiny, other):
        AutoBridge.import_ckpt(source.hf, root, release=True, overwrite=True)
        assert AutoBridge.get_hf_model_id_from_checkpoint(root) == str(source.hf)
        found = _embedding(READERS["load_megatron_model"](root, source.hf))
        assert torch.equal(found, load_file(source.hf / "model.safetensors")["model.embed_tokens.weight"])
    assert sorted(path.name for path in root.iterdir()) == [TRACKER, TRAIN_STATE_TRACKER, "release"]


def test_import_leaves_no_process_group(tiny, tmp_path):
    AutoBridge.import_ckpt(tiny.hf, tmp_path / "root", release=True)
    assert not torch.distributed.is_initialized() and not parallel_state.is_initialized()
