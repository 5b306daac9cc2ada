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

"""Readers of a checkpoint root find the checkpoint that its trackers name."""

from pathlib import Path

import pytest
import torch
import yaml

from megatron.bridge import AutoBridge
from megatron.bridge.training import model_load_save
from megatron.bridge.training.checkpointing import (
    _resolve_checkpoint_iteration,
    find_checkpoint_folder,
    read_metadata,
)
from megatron.bridge.training.state import TrainState
from megatron.bridge.training.utils.checkpoint_utils import get_hf_model_id_from_checkpoint


class Found(Exception):
    """What a reader would load."""


def _root(folder: Path, *checkpoints: str, tracker: str | None = None, step: int | None = None) -> Path:
    for name in checkpoints:
        (folder / name).mkdir()
        (folder / name / ".metadata").touch()
        (folder / name / "run_config.yaml").write_text(yaml.safe_dump({"model": {"hf_model_id": name}}))
    if tracker is not None:
        (folder / "latest_checkpointed_iteration.txt").write_text(tracker)
    if step is not None:
        torch.save(TrainState(step=step).state_dict(), folder / "latest_train_state.pt")
    return folder


@pytest.mark.parametrize(
    ("checkpoints", "tracker", "step", "expected", "iteration"),
    [
        (["release"], "release", 0, "release", (0, True)),
        (["release"], "release", None, "release", (0, True)),
        (["iter_0000000"], "0", 0, "iter_0000000", (0, False)),
        (["iter_0000000"], None, 0, "iter_0000000", (0, False)),
        # Megatron-LM has gone on in the root, and knows no latest_train_state.pt.
        (["release", "iter_0000007"], "7", 0, "iter_0000007", (7, False)),
        (["iter_0000005", "iter_0000009"], "5", 5, "iter_0000005", (5, False)),
    ],
)
def test_find_checkpoint_follows_tracker(tmp_path, checkpoints, tracker, step, expected, iteration):
    root = _root(tmp_path, *checkpoints, tracker=tracker, step=step)
    assert _resolve_checkpoint_iteration(str(root), None) == iteration
    assert find_checkpoint_folder(root) == str(root / expected)
    assert find_checkpoint_folder(root / expected) == str(root / expected)
    assert get_hf_model_id_from_checkpoint(root) == expected


def test_directory_without_tracker_and_checkpoint_is_itself(tmp_path):
    assert _resolve_checkpoint_iteration(str(tmp_path), None) == (-1, False)
    assert find_checkpoint_folder(tmp_path) == str(tmp_path)


@pytest.mark.parametrize(("text", "expected"), [("release\n", (0, True)), ("0", (0, False)), ("12", (12, False))])
def test_read_metadata_parses_text_tracker(tmp_path, text, expected):
    _root(tmp_path, tracker=text)
    assert read_metadata(str(tmp_path / "latest_checkpointed_iteration.txt")) == expected


def test_release_with_a_nested_checkpoint_is_loaded(tmp_path, monkeypatch):
    root = _root(tmp_path, "release", tracker="release", step=0)
    _root(root / "release", "iter_0000001")

    def load(path: str, **_keywords: object) -> None:
        raise Found(path)

    monkeypatch.setattr(model_load_save, "load_megatron_model", load)
    bridge = AutoBridge.__new__(AutoBridge)
    bridge.trust_remote_code = False
    for path in (root, root / "release"):
        with pytest.raises(Found, match=f"{root}/release$"):
            bridge.load_megatron_model(path)


def test_from_auto_config_loads_config_of_release(tmp_path, monkeypatch):
    root = _root(tmp_path, "release", tracker="release", step=0)

    def load(path: str) -> None:
        raise Found(path)

    monkeypatch.setattr(model_load_save, "load_model_config", load)
    with pytest.raises(Found, match=f"{root}/release$"):
        AutoBridge.from_auto_config(root, "a model")
