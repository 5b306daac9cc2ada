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
from unittest.mock import ANY

import pytest
import torch
from expected_errors import Containing, raises
from hook_states import tracker_release
from roots import SHARD, contents

from megatron.bridge.release.__main__ import main
from megatron.bridge.release.errors import NotRegularFileError, ReleaseError, shell_option
from megatron.bridge.release.layout import TRACKER
from megatron.bridge.release.repair.errors import (
    LostTrainingError,
    NothingToRepairError,
    OtherFilesError,
    RunConfigError,
    SeveralCheckpointsError,
    TrainedCheckpointError,
    TrainingError,
)
from megatron.bridge.release.repair.run import repair
from megatron.bridge.release.verify.check import check
from megatron.bridge.release.verify.errors import DamagedCheckpointError
from megatron.bridge.release.verify.findings import FileProblem, SpecialFiles
from megatron.bridge.release.write.errors import HardLinkError, LockFileError
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


def _run_config(reason: Containing, kind: str = "mismatch") -> Callable[[Path], ReleaseError]:
    return lambda root: RunConfigError(root / "iter_0000000/run_config.yaml", reason, kind)


def _damaged(name: str, status: str, reason: Containing | None) -> Callable[[Path], ReleaseError]:
    return lambda root: DamagedCheckpointError(FileProblem(root / "iter_0000000" / name, status, reason, None))


# What is done to a checkpoint directory, and the error.
REFUSED: dict[Callable[[Path], None], Callable[[Path], ReleaseError]] = {
    _changed_config("  num_layers: 2\n", "  num_layers: 99\n"): _run_config(Containing("[2, 64, 64]", "[99, 64, 64]")),
    _changed_config("  ffn_hidden_size: 96\n", "  other: 1\n"): _run_config(
        Containing("args.ffn_hidden_size", "None")
    ),
    _changed_config("  _target_: megatron.bridge.models.gpt_provider.GPTModelProvider\n", "  x: 1\n"): _run_config(
        Containing("KeyError: '_target_'")
    ),
    _changed_config(
        "  tensor_model_parallel_size: 1\n  tensor_parallel", "  tensor_model_parallel_size: 0\n  tensor_parallel"
    ): _run_config(ANY),
    _notes_beside_a_linked_copy: lambda root: SeveralCheckpointsError(root, ("iter_0000000", "release")),
    _pipe: lambda root: DamagedCheckpointError(SpecialFiles(root / "iter_0000000", ("tokenizer/pipe.json",))),
    _list_of_steps: _damaged("train_state.pt", "corrupt", Containing("list")),
    _linked_tracker: lambda root: NotRegularFileError(root / TRACKER),
    _trained: lambda root: TrainingError(root, ("iter_0000100",)),
    _tracker_of_a_training: lambda root: LostTrainingError(root, 100),
    _at_iteration_5: lambda root: TrainedCheckpointError(root / "iter_0000000", 5),
    _with_optimizer_state: lambda root: TrainedCheckpointError(root / "iter_0000000", None),
    _two_checkpoints: lambda root: SeveralCheckpointsError(root, ("iter_0000000", "release")),
    _two_nested: lambda root: SeveralCheckpointsError(root, ("release", "release/iter_0000000")),
    _no_run_config: _damaged("run_config.yaml", "missing", None),
    _unknown_model: _run_config(Containing("'os.system'"), "unknown model class"),
    _cut: _damaged(SHARD, "truncated", Containing("1000 bytes")),
    _half_a_copy: lambda root: OtherFilesError(root / "release", ()),
    _nothing: lambda root: NothingToRepairError(root, ()),
}


@pytest.mark.parametrize("spoil", REFUSED, ids=lambda spoil: spoil.__name__)
def test_refused_directory_is_not_changed(spoil, default, tmp_path, capsys):
    root = Path(shutil.copytree(default, tmp_path / "root"))
    spoil(root)
    before, names = contents(root), {path.name for path in root.iterdir()}
    with raises(REFUSED[spoil](root)) as raised:
        repair(root)
    assert main(["repair", str(root)]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == f"error: {raised.value.text(shell_option)}"
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


def test_repair_changes_nothing_when_hard_link_fails(default, tmp_path, monkeypatch, capsys):
    def no_links(*_) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    root = Path(shutil.copytree(default, tmp_path / "root"))
    monkeypatch.setattr(Filesystem, "link", no_links)
    with raises(HardLinkError(ANY, "Operation not permitted")) as raised:
        repair(root)
    assert main(["repair", str(root)]) == 1
    assert raised.value.text(shell_option) in capsys.readouterr().err
    assert contents(root) == contents(default)


def test_symlinks_named_like_leftovers_are_not_followed(default, tmp_path, capsys):
    outside = tmp_path / "outside"
    (outside / "release").mkdir(parents=True)
    (outside / "file").write_text("not yours")
    root = Path(shutil.copytree(default, tmp_path / "root"))
    (root / ".release-lock").symlink_to(outside / "file")
    assert main(["repair", str(root)]) == 1
    assert LockFileError(root / ".release-lock", "a symlink").text(shell_option) in capsys.readouterr().err
    (root / ".release-lock").unlink()
    for name in (".release-replaced-x", ".release-staging-x"):
        (root / name).symlink_to(outside)
    repair(root)
    assert check(root).passed
    assert (outside / "file").read_text() == "not yours" and list((outside / "release").iterdir()) == []
    assert (root / ".release-staging-x").is_symlink()
