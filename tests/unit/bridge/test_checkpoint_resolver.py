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

"""A checkpoint root resolves to the folder that its tracker names."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from megatron.bridge.release.errors import InvalidTrackerError
from megatron.bridge.release.layout import TRACKER, TRAIN_STATE_TRACKER, parse_tracker
from megatron.bridge.training import model_load_save
from megatron.bridge.training.checkpointing import (
    _get_non_persistent_iteration,
    _resolve_checkpoint_iteration,
    find_checkpoint_folder,
    read_metadata,
)
from megatron.bridge.training.state import TrainState
from megatron.bridge.training.utils.checkpoint_resolver import (
    checkpoint_folders,
    read_tracker,
    resolve_checkpoint_folder,
    resolve_run_config_folder,
)


def _root(path: Path, *folders: str, tracker: str | None = None, step: int | None = None) -> str:
    for folder in folders:
        (path / folder).mkdir()
    if tracker is not None:
        (path / TRACKER).write_text(tracker)
    if step is not None:
        torch.save({"step": torch.tensor(step, dtype=torch.int32)}, path / TRAIN_STATE_TRACKER)
    return str(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("release", (0, True)), ("release\n", (0, True)), ("0", (0, False)), (" 100\n", (100, False))],
)
def test_parse_tracker_accepts_release_or_number(text, expected):
    assert parse_tracker(text, "t") == expected


@pytest.mark.parametrize("text", ["", "\n", "releas", "Release", "-1", "1.5", "1_0", "٣", "release 1", "iter_0000001"])
def test_parse_tracker_reports_file_and_invalid_text(text):
    with pytest.raises(InvalidTrackerError) as raised:
        parse_tracker(text, "ckpt/tracker.txt")
    assert (raised.value.file, raised.value.content) == ("ckpt/tracker.txt", text)


def test_text_tracker_overrides_train_state(tmp_path):
    assert read_tracker(_root(tmp_path, tracker="release", step=0)) == (0, True)


def test_train_state_is_used_when_text_tracker_is_missing(tmp_path):
    assert read_tracker(_root(tmp_path, step=7)) == (7, False)


def test_read_tracker_returns_none_when_trackers_are_missing(tmp_path):
    assert read_tracker(_root(tmp_path)) is None


def test_highest_iteration_is_found_without_trackers(tmp_path):
    root = _root(tmp_path, "iter_0000009", "iter_0000010", "iter_12.tmp", "iter_", "my_iter_0000099", "release.old")
    assert resolve_checkpoint_folder(root) == f"{root}/iter_0000010"


@pytest.mark.parametrize(
    "name",
    [
        "iter_5",
        "iter_000005",
        "iter_00000005",
        "iter_\u0660\u0660\u0660\u0660\u0660\u0660\u0665",
        "iter_0000005\n",
        "iter_" + "9" * 19,
    ],
    ids=range(6),
)
def test_malformed_names_are_not_iteration_directories(tmp_path, name):
    root = _root(tmp_path, name)
    assert checkpoint_folders(root) == [] and resolve_checkpoint_folder(root) == root
    (tmp_path / "iter_10000000").mkdir()
    (tmp_path / "iter_0000005").mkdir(exist_ok=True)
    assert checkpoint_folders(root) == ["iter_0000005", "iter_10000000"]
    assert resolve_checkpoint_folder(root) == f"{root}/iter_10000000"
    # Given by itself, it is read as it is.
    (tmp_path / name / ".metadata").touch()
    assert resolve_checkpoint_folder(tmp_path / name) == str(tmp_path / name)


def test_resolver_returns_empty_directory_unchanged(tmp_path):
    assert resolve_checkpoint_folder(tmp_path) == str(tmp_path)


def test_resolver_returns_iteration_directory_unchanged(tmp_path):
    (tmp_path / "metadata.json").write_text("{}")
    assert resolve_checkpoint_folder(_root(tmp_path, "iter_0000001", tracker="1")) == str(tmp_path)


def test_missing_checkpoint_error_lists_existing_checkpoints(tmp_path):
    root = _root(tmp_path, "iter_0000003", "iter_0000003.tmp", ".release-staging-x", tracker="release")
    with pytest.raises(FileNotFoundError) as error:
        resolve_checkpoint_folder(root)
    assert f"{tmp_path} names release, which does not exist (found: iter_0000003)" in str(error.value)


@pytest.mark.parametrize("with_config, expected", [(["release"], "release"), (["release", "iter_0000005"], None)])
def test_iteration_without_run_config_uses_config_of_release(with_config, expected, tmp_path):
    root = _root(tmp_path, "release", "iter_0000005", tracker="5")
    for folder in with_config:
        (tmp_path / folder / "run_config.yaml").touch()
    for path in (root, f"{root}/iter_0000005", f"{root}/iter_0000005/"):
        (tmp_path / "iter_0000005/.metadata").touch()
        assert resolve_run_config_folder(path).rstrip("/") == f"{root}/{expected or 'iter_0000005'}"


@pytest.mark.parametrize("folders", [("iter_0000005",), ("release", "iter_0000005"), ("release", "mine")])
def test_run_config_directory_falls_back_to_given_directory(folders, tmp_path):
    root = _root(tmp_path, *folders)
    if "mine" in folders:
        (tmp_path / "release/run_config.yaml").touch()
    (tmp_path / folders[-1] / ".metadata").touch()
    assert resolve_run_config_folder(f"{root}/{folders[-1]}") == f"{root}/{folders[-1]}"


def test_tracker_is_not_cached(tmp_path):
    """It is read with a cache by its name, and training goes on in one process."""
    for step in (5, 10):
        root = str(tmp_path)
        torch.save(TrainState(step=step).state_dict(), tmp_path / TRAIN_STATE_TRACKER)
        assert _resolve_checkpoint_iteration(root, None) == (step, False)
        assert _get_non_persistent_iteration(root, "global") == step


@pytest.mark.parametrize("text", ["", " ", "\n", "release2", "-1"])
def test_readers_raise_value_error_when_tracker_is_invalid(tmp_path, text):
    root = _root(tmp_path, tracker=text)
    for read in (find_checkpoint_folder, model_load_save.load_megatron_model, model_load_save.load_model_config):
        with pytest.raises(InvalidTrackerError) as raised:
            read(root)
        assert (raised.value.file, raised.value.content) == (f"{root}/{TRACKER}", text)
    with pytest.raises(InvalidTrackerError) as raised:
        _resolve_checkpoint_iteration(root, None)
    assert (raised.value.file, raised.value.content) == (f"{root}/{TRACKER}", text.strip())


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["release", "release"], (0, True)),
        (["release", "7"], (7, False)),
        (["release", "0"], (0, False)),
        (["5", "7"], (7, False)),
    ],
)
def test_ranks_that_read_different_trackers_agree(tmp_path, monkeypatch, texts, expected):
    """Each rank reads the tracker by itself, while another process may replace it."""
    tracker, reduced = tmp_path / TRACKER, []
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_rank", lambda: 1)

    def read(text: str) -> tuple[int, bool]:
        tracker.write_text(text)
        return read_metadata(str(tracker))

    monkeypatch.setattr(dist, "all_reduce", lambda tensor, op: reduced.append(tensor.clone()))
    for text in texts:
        read(text)
    highest = torch.stack(reduced).amax(0)
    monkeypatch.setattr(dist, "all_reduce", lambda tensor, op: tensor.copy_(highest))
    assert [read(text) for text in texts] == [expected] * len(texts)
