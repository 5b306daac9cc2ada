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
def test_a_tracker_holds_release_or_a_number(text, expected):
    assert parse_tracker(text, "t") == expected


@pytest.mark.parametrize("text", ["", "\n", "releas", "Release", "-1", "1.5", "1_0", "٣", "release 1", "iter_0000001"])
def test_anything_else_is_an_error_with_the_file_and_its_text(text):
    with pytest.raises(InvalidTrackerError) as raised:
        parse_tracker(text, "ckpt/tracker.txt")
    assert (raised.value.file, raised.value.content) == ("ckpt/tracker.txt", text)


def test_the_text_tracker_decides_over_the_train_state(tmp_path):
    assert read_tracker(_root(tmp_path, tracker="release", step=0)) == (0, True)


def test_the_train_state_speaks_where_there_is_no_text_tracker(tmp_path):
    assert read_tracker(_root(tmp_path, step=7)) == (7, False)


def test_a_root_without_trackers_has_none(tmp_path):
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
def test_other_directory_names_are_no_iteration_directories(tmp_path, name):
    root = _root(tmp_path, name)
    assert checkpoint_folders(root) == [] and resolve_checkpoint_folder(root) == root
    (tmp_path / "iter_10000000").mkdir()
    (tmp_path / "iter_0000005").mkdir(exist_ok=True)
    assert checkpoint_folders(root) == ["iter_0000005", "iter_10000000"]
    assert resolve_checkpoint_folder(root) == f"{root}/iter_10000000"
    # Given by itself, it is read as it is.
    (tmp_path / name / ".metadata").touch()
    assert resolve_checkpoint_folder(tmp_path / name) == str(tmp_path / name)


def test_a_folder_that_is_no_root_is_left_to_the_reader(tmp_path):
    assert resolve_checkpoint_folder(tmp_path) == str(tmp_path)


def test_a_checkpoint_folder_stands_for_itself_whatever_is_in_it(tmp_path):
    (tmp_path / "metadata.json").write_text("{}")
    assert resolve_checkpoint_folder(_root(tmp_path, "iter_0000001", tracker="1")) == str(tmp_path)


def test_a_missing_folder_is_an_error_that_lists_those_there(tmp_path):
    root = _root(tmp_path, "iter_0000003", "iter_0000003.tmp", ".release-staging-x", tracker="release")
    with pytest.raises(FileNotFoundError) as error:
        resolve_checkpoint_folder(root)
    assert f"{tmp_path} names release, which does not exist (found: iter_0000003)" in str(error.value)


@pytest.mark.parametrize("with_config, expected", [(["release"], "release"), (["release", "iter_0000005"], None)])
def test_training_beside_a_release_uses_its_run_config(with_config, expected, tmp_path):
    root = _root(tmp_path, "release", "iter_0000005", tracker="5")
    for folder in with_config:
        (tmp_path / folder / "run_config.yaml").touch()
    for path in (root, f"{root}/iter_0000005", f"{root}/iter_0000005/"):
        (tmp_path / "iter_0000005/.metadata").touch()
        assert resolve_run_config_folder(path).rstrip("/") == f"{root}/{expected or 'iter_0000005'}"


@pytest.mark.parametrize("folders", [("iter_0000005",), ("release", "iter_0000005"), ("release", "mine")])
def test_any_other_folder_without_a_run_config_stands_for_itself(folders, tmp_path):
    root = _root(tmp_path, *folders)
    if "mine" in folders:
        (tmp_path / "release/run_config.yaml").touch()
    (tmp_path / folders[-1] / ".metadata").touch()
    assert resolve_run_config_folder(f"{root}/{folders[-1]}") == f"{root}/{folders[-1]}"


def test_the_tracker_of_a_root_is_read_again_each_time(tmp_path):
    """It is read with a cache by its name, and training goes on in one process."""
    for step in (5, 10):
        root = str(tmp_path)
        torch.save(TrainState(step=step).state_dict(), tmp_path / TRAIN_STATE_TRACKER)
        assert _resolve_checkpoint_iteration(root, None) == (step, False)
        assert _get_non_persistent_iteration(root, "global") == step


@pytest.mark.parametrize("text", ["", " ", "\n", "release2", "-1"])
def test_a_torn_tracker_is_an_error_and_no_exit(tmp_path, text):
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
