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

"""What a user can get wrong is found before the work, said in one line, and loses nothing."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from megatron.core.dist_checkpointing.strategies.torch import TorchDistSaveShardedStrategy
from megatron_lm import tree
from transformers import PreTrainedTokenizerFast

from megatron.bridge import AutoBridge
from megatron.bridge.training import model_load_save
from megatron.bridge.training.utils import import_checks
from megatron.bridge.training.utils.publishing import Filesystem


EXAMPLE = Path(__file__).parents[2] / "examples/import_release.py"


def _no_config(hf: Path) -> None:
    (hf / "config.json").unlink()


def _no_architecture(hf: Path) -> None:
    (hf / "config.json").write_text("{}")


def _foreign_architecture(hf: Path) -> None:
    config = json.loads((hf / "config.json").read_text())
    (hf / "config.json").write_text(json.dumps(config | {"architectures": ["BertForMaskedLM"]}))


def _causal_but_without_a_bridge(hf: Path) -> None:
    config = json.loads((hf / "config.json").read_text())
    (hf / "config.json").write_text(json.dumps(config | {"architectures": ["BloomForCausalLM"]}))


def _no_weights(hf: Path) -> None:
    (hf / "model.safetensors").unlink()


def _missing(hf: Path) -> None:
    shutil.rmtree(hf)


BAD_MODELS = {
    _missing: "does not exist",
    _no_config: "no config.json",
    _no_architecture: "names no architecture",
    _foreign_architecture: "BertForMaskedLM.*not supported",
    _causal_but_without_a_bridge: "BloomForCausalLM.*not supported",
    _no_weights: "no weights",
}


@pytest.fixture
def hf(tiny, tmp_path) -> Path:
    """A copy of the model, to be spoilt."""
    return Path(shutil.copytree(tiny.hf, tmp_path / "hf"))


def _fails(hf: Path, root: Path, match: str) -> None:
    with pytest.raises(ValueError, match=match) as error:
        AutoBridge.import_ckpt(hf, root, release=True)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("spoil", BAD_MODELS, ids=lambda spoil: spoil.__name__.strip("_"))
def test_a_bad_model_is_refused_in_one_line_and_nothing_is_written(hf, tmp_path, spoil):
    spoil(hf)
    _fails(hf, tmp_path / "root", BAD_MODELS[spoil])
    assert not (tmp_path / "root").exists()


def test_an_output_path_that_is_a_file_is_refused(hf, tmp_path):
    (tmp_path / "file").write_text("kept")
    _fails(hf, tmp_path / "file", "file is a file")
    _fails(hf, tmp_path / "file/root", "file is a file")
    assert (tmp_path / "file").read_text() == "kept"


def test_an_output_path_that_is_a_dangling_link_is_refused(hf, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    _fails(hf, tmp_path / "link", "dangling link")


def test_an_output_path_inside_the_models_own_folder_is_refused(hf, tmp_path):
    before = tree(hf)
    for root in (hf, hf / "megatron", tmp_path / "other/../hf/x"):
        _fails(hf, root, "inside the model's own folder")
    assert tree(hf) == before


@pytest.mark.skipif(
    os.geteuid() == 0 and not shutil.which("setpriv"), reason="root may write anywhere, no setpriv here"
)
def test_an_output_path_without_permission_is_refused(tmp_path):
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o555)
    check = f"from import_checks import check_root; check_root({str(folder / 'root')!r})"
    command = [sys.executable, "-c", check]
    if os.geteuid() == 0:
        # The module is read by another user than root; Python itself may stand where that one cannot look.
        for parent in (folder, *folder.parents):
            if parent != Path("/"):
                parent.chmod(parent.stat().st_mode | 0o055)
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-c", check]
    module = tmp_path / "import_checks.py"
    shutil.copy(import_checks.__file__, module)
    module.chmod(0o644)
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 1 and "no permission in" in run.stderr.splitlines()[-1], run.stderr


def test_a_disk_without_room_is_refused(hf, tmp_path, monkeypatch):
    monkeypatch.setattr(import_checks.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    _fails(hf, tmp_path / "root", "0.0 GB free and the checkpoint needs 0.0 GB")


def test_a_root_that_holds_a_checkpoint_is_refused_before_any_work(hf, tiny, tmp_path, monkeypatch):
    root = Path(shutil.copytree(tiny.root, tmp_path / "root"))
    before = {name: (root / name).read_bytes() for name in tree(root)}
    monkeypatch.setattr(AutoBridge, "from_hf_pretrained", None)
    _fails(
        hf, root, "already holds a checkpoint: release, the tracker 'release'. Give another folder, or overwrite=True"
    )
    assert {name: (root / name).read_bytes() for name in tree(root)} == before


def _disk_full(*args, **kwargs):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ((model_load_save, "build_tokenizer"), "No space left"),
        ((PreTrainedTokenizerFast, "save_pretrained"), "tokenizer could not be saved"),
        ((TorchDistSaveShardedStrategy, "save"), "No space left"),
        ((Filesystem, "sync"), "No space left"),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)
def test_an_import_that_fails_half_way_leaves_the_checkpoint_that_was_there(
    tiny, other, tmp_path, monkeypatch, place, error
):
    root = tmp_path / "root"
    AutoBridge.import_ckpt(tiny.hf, root, release=True)
    before = {name: (root / name).read_bytes() for name in tree(root)}
    monkeypatch.setattr(*place, _disk_full)
    with pytest.raises((OSError, RuntimeError), match=error):
        AutoBridge.import_ckpt(other.hf, root, release=True, overwrite=True)
    assert {name: (root / name).read_bytes() for name in tree(root)} == before
    assert sorted(path.name for path in root.iterdir()) == [
        "latest_checkpointed_iteration.txt",
        "latest_train_state.pt",
        "release",
    ]


def test_the_example_says_what_is_wrong_in_one_line_and_exits_with_1(tmp_path):
    run = subprocess.run(
        [sys.executable, EXAMPLE, tmp_path / "nothing", tmp_path / "root"], capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1] == (
        f"error: The model {tmp_path / 'nothing'} does not exist. Give a Hugging Face model ID or a model's folder."
    )
