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

"""`repair` refuses what is no whole import alone, and changes nothing there."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hook_states import tracker_release
from roots import SHARD, contents

from megatron.bridge.release.__main__ import main
from megatron.bridge.release.layout import TRACKER
from megatron.bridge.release.repair.run import repair
from megatron.bridge.release.verify.check import check
from megatron.bridge.release.write.filesystem import Filesystem
from megatron.bridge.release.write.publish import Publication


def _trained(root: Path) -> None:
    (root / "iter_0000100").mkdir()


def _tracker_of_a_training(root: Path) -> None:
    (root / TRACKER).write_text("100")


def _at_iteration_5(root: Path) -> None:
    state = torch.load(root / "iter_0000000" / "train_state.pt", weights_only=True)
    torch.save({**state, "step": torch.tensor(5)}, root / "iter_0000000" / "train_state.pt")


def _with_optimizer_state(root: Path) -> None:
    metadata = root / "iter_0000000" / ".metadata"
    key = b"decoder.final_layernorm.weight"
    assert key in metadata.read_bytes()
    metadata.write_bytes(metadata.read_bytes().replace(key, b"optimizer.state.exp_avg.weight1"[: len(key)]))


def _two_checkpoints(root: Path) -> None:
    shutil.copytree(root / "iter_0000000", root / "release")


def _two_nested(root: Path) -> None:
    _two_checkpoints(root)
    (root / "iter_0000000").rename(root / "release" / "iter_0000000")
    tracker_release(root)


def _no_run_config(root: Path) -> None:
    (root / "iter_0000000" / "run_config.yaml").unlink()


def _unknown_model(root: Path) -> None:
    config = root / "iter_0000000" / "run_config.yaml"
    text = config.read_text()
    config.write_text(text.replace("megatron.bridge.models.gpt_provider.GPTModelProvider", "os.system"))


def _cut(root: Path) -> None:
    os.truncate(root / "iter_0000000" / SHARD, 1000)


def _half_a_copy(root: Path) -> None:
    (root / "release").mkdir()
    shutil.copy(root / "iter_0000000" / SHARD, root / "release")


def _nothing(root: Path) -> None:
    shutil.rmtree(root / "iter_0000000")


def _changed_config(old: str, new: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        config = root / "iter_0000000" / "run_config.yaml"
        text = config.read_text()
        assert text.count(old) == 1
        config.write_text(text.replace(old, new))

    change.__name__ = f"run_config_with_{new.split(':')[0].strip()}"
    return change


def _notes_beside_a_linked_copy(root: Path) -> None:
    shutil.copytree(root / "iter_0000000", root / "release", copy_function=os.link)
    (root / "iter_0000000" / "notes.txt").write_text("mine")


def _pipe(root: Path) -> None:
    os.mkfifo(root / "iter_0000000" / "tokenizer" / "pipe.json")


def _list_of_steps(root: Path) -> None:
    torch.save([1], root / "iter_0000000" / "train_state.pt")


def _linked_tracker(root: Path) -> None:
    (root / TRACKER).rename(root / "tracker")
    (root / TRACKER).symlink_to("tracker")


REFUSED = {
    _changed_config(
        "  num_layers: 2\n", "  num_layers: 99\n"
    ): "has shape [2, 64, 64], args imply [99, 64, 64]). Import the model again.",
    _changed_config("  ffn_hidden_size: 96\n", "  other: 1\n"): "(args.ffn_hidden_size must be an integer, got None).",
    _changed_config(
        "  _target_: megatron.bridge.models.gpt_provider.GPTModelProvider\n", "  x: 1\n"
    ): "KeyError: '_targ",
    _changed_config(
        "  tensor_model_parallel_size: 1\n  tensor_parallel", "  tensor_model_parallel_size: 0\n  tensor_parallel"
    ): "does not match the checkpoint",
    _notes_beside_a_linked_copy: "contains more than one checkpoint: iter_0000000, release.",
    _pipe: "tokenizer/pipe.json. Replace them with regular files.",
    _list_of_steps: "train_state.pt is corrupt (it contains a list, not a dictionary)",
    _linked_tracker: f"{TRACKER} is a symlink or not a regular file. Replace it with a regular file.",
    _trained: "contains training checkpoints (iter_0000100). repair only converts imports",
    _tracker_of_a_training: "contains 100, but the checkpoint of that training does not exist. Restore it, or",
    _at_iteration_5: "iter_0000000 is a training checkpoint: its iteration is 5.",
    _with_optimizer_state: "iter_0000000 is a training checkpoint: it contains optimizer state.",
    _two_checkpoints: "contains more than one checkpoint: iter_0000000, release. Move away those that you do not want",
    _two_nested: "contains more than one checkpoint: release, release/iter_0000000. Move away those",
    _no_run_config: "run_config.yaml is missing. Restore it from a copy, or import the model again.",
    _unknown_model: "Unknown model class 'os.system' in ",
    _cut: f"{SHARD} is truncated (1000 bytes, expected ",
    _half_a_copy: "release contains files but no checkpoint. Move it away and run the repair again.",
    _nothing: "contains no checkpoint. Import the model again, or pass another directory.",
}


@pytest.mark.parametrize("spoil", REFUSED, ids=lambda spoil: spoil.__name__)
def test_refused_directory_is_not_changed(spoil, default, tmp_path, capsys):
    root = Path(shutil.copytree(default, tmp_path / "root"))
    spoil(root)
    before, names = contents(root), {path.name for path in root.iterdir()}
    assert main(["repair", str(root)]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and REFUSED[spoil] in error
    assert contents(root) == before
    assert {path.name for path in root.iterdir()} == names


def test_directory_with_an_active_import_is_not_changed(default, tmp_path, capsys):
    root = Path(shutil.copytree(default, tmp_path / "root"))
    publication = Publication(root)
    publication.begin()
    try:
        for options in ([], ["--dry-run"]):
            assert main(["repair", str(root), *options]) == 1
            shown = capsys.readouterr()
            assert f"{root} is locked by another process (process {os.getpid()} on " in shown.err
            assert shown.out == ""
    finally:
        publication.end()
    assert contents(root) == contents(default)


def test_failed_hard_link_changes_nothing(default, tmp_path, monkeypatch, capsys):
    def no_links(*_) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    root = Path(shutil.copytree(default, tmp_path / "root"))
    monkeypatch.setattr(Filesystem, "link", no_links)
    assert main(["repair", str(root)]) == 1
    assert "Cannot create a hard link to " in capsys.readouterr().err
    assert contents(root) == contents(default)


def test_symlinks_named_like_leftovers_are_not_followed(default, tmp_path, capsys):
    outside = tmp_path / "outside"
    (outside / "release").mkdir(parents=True)
    (outside / "file").write_text("not yours")
    root = Path(shutil.copytree(default, tmp_path / "root"))
    (root / ".release-lock").symlink_to(outside / "file")
    assert main(["repair", str(root)]) == 1
    assert f"{root / '.release-lock'} is a symlink; expected a regular file. Remove it." in capsys.readouterr().err
    (root / ".release-lock").unlink()
    for name in (".release-replaced-x", ".release-staging-x"):
        (root / name).symlink_to(outside)
    repair(root)
    assert check(root).passed
    assert (outside / "file").read_text() == "not yours" and list((outside / "release").iterdir()) == []
    assert (root / ".release-staging-x").is_symlink()
