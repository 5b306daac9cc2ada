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


"""`repair` turns what upstream and hooks leave into the release that an import writes; `revert` turns it back."""

import errno
import os
import shutil
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from faults import LosingPower, Stepping, killed_at
from hf_logits import hf_logits, load_hf, wrong_logits
from hf_tensors import assert_exported
from megatron.core.dist_checkpointing.serialization import load_common_state_dict
from megatron.core.dist_checkpointing.validation import verify_integrity_manifest
from megatron_lm import load, logits, megatron_lm
from models import megatron_tensors
from roots import TRACKER, TRAIN_STATE, contents, tree

from megatron.bridge import AutoBridge
from megatron.bridge.training.release import publishing
from megatron.bridge.training.release.filesystem import Filesystem
from megatron.bridge.training.release.publishing import Publication
from megatron.bridge.training.utils.checkpoint_root import resolve_checkpoint_folder
from megatron.bridge_release.__main__ import main
from megatron.bridge_release.checking import check
from megatron.bridge_release.repairing import repair, revert


SHARD = "__0_0.distcp"


def _few_args(root: Path, folder: str) -> None:
    """What hooks put into ``common.pt``."""
    common = load_common_state_dict(str(root / folder))
    fields = dict(num_layers=2, hidden_size=64, num_attention_heads=4, max_position_embeddings=2048)
    parallel = dict(tensor_model_parallel_size=1, pipeline_model_parallel_size=1, world_size=1)
    torch.save({**common, "args": Namespace(**fields, **parallel)}, root / folder / "common.pt")


def _tracker_release(root: Path) -> None:
    (root / TRACKER).write_text("release")


def _renamed(root: Path) -> None:
    (root / "iter_0000000").rename(root / "release")


def _nested(root: Path) -> None:
    (root / "release").mkdir()
    (root / "iter_0000000").rename(root / "release" / "iter_0000001")
    _tracker_release(root)


def _nested_in_itself(root: Path) -> None:
    _renamed(root)
    (root / "iter_0000000").mkdir()
    (root / "release").rename(root / "iter_0000000" / "release")


def _seven_args(root: Path) -> None:
    _renamed(root)
    _tracker_release(root)
    _few_args(root, "release")


def _common_pt_of_an_older_core(root: Path) -> None:
    torch.save(load_common_state_dict(str(root / "iter_0000000")), root / "iter_0000000" / "common.pt")


def _linked(root: Path) -> None:
    (root / "release").symlink_to("iter_0000000")
    _tracker_release(root)


def _torn(root: Path) -> None:
    (root / TRACKER).write_text("relea")


def _bridge_before_0_2(root: Path) -> None:
    (root / TRACKER).unlink()


def _no_train_state(root: Path) -> None:
    (root / TRAIN_STATE).unlink()
    (root / "iter_0000000" / "train_state.pt").unlink()


STATES: dict[str, Callable[[Path], None]] = {
    "upstream's import": lambda root: None,
    "tracker release, iter_0000000": _tracker_release,
    "release/, tracker 0": _renamed,
    "release/iter_0000001": _nested,
    "iter_0000000/release": _nested_in_itself,
    "args of seven fields": _seven_args,
    "common.pt": _common_pt_of_an_older_core,
    "a link": _linked,
    "a torn tracker": _torn,
    "no text tracker": _bridge_before_0_2,
    "no train state": _no_train_state,
}


@pytest.fixture(params=STATES)
def state(request, default, tmp_path) -> Path:
    """A root that upstream or a hook has left."""
    root = Path(shutil.copytree(default, tmp_path / "root"))
    STATES[request.param](root)
    return root


def _args(root: Path) -> dict:
    args = vars(torch.load(root / "release" / "common.pt", weights_only=True)["args"])
    assert args.pop("tokenizer_model") == str(root / "release" / "tokenizer")
    return args


def test_every_state_becomes_what_an_import_writes_and_no_tensor_is_rewritten(state, tiny, capsys):
    before, (shard,) = contents(state), state.rglob(SHARD)
    inode = shard.stat().st_ino
    assert not check(state).loadable

    assert main(["repair", str(state), "--dry-run"]) == 0
    plan = capsys.readouterr().out
    assert contents(state) == before

    assert main(["repair", str(state)]) == 0
    assert capsys.readouterr().out == plan != ""
    after = contents(state)
    # Upstream writes its tensors to one file.
    assert after.keys() == {name for name in tree(tiny.root) if not name.endswith(".distcp")} | {f"release/{SHARD}"}
    assert (after[TRACKER], (state / "release" / SHARD).stat().st_ino) == (b"release", inode)
    assert _args(state) == _args(tiny.root)
    assert after["release/megatron_lm_args.txt"] == contents(tiny.root)["release/megatron_lm_args.txt"]
    kept = ("release/.metadata", f"release/{SHARD}", "release/run_config.yaml", "release/tokenizer/tokenizer.json")
    assert {after[name] for name in kept} <= set(before.values())
    report = check(state)
    assert report.loadable and not report.notes

    assert main(["repair", str(state)]) == 0
    assert capsys.readouterr().out == "nothing to do\n"
    assert contents(state) == after


def test_megatron_lm_and_bridge_read_a_repaired_root_bit_by_bit(state, tiny, tmp_path):
    repair(state)
    hf = load_hf(tiny.hf)
    flags = ["--load", str(state), "--exit-on-missing-checkpoint", "--use-checkpoint-args", "--norm-epsilon=1e-06"]
    with megatron_lm(flags) as args:
        model, iteration = load(args)
        found, expected = dict(model.named_parameters()), megatron_tensors(hf, tiny.padded_vocab_size)
        assert iteration == 0 and found.keys() == expected.keys()
        assert all(torch.equal(found[name].float(), tensor) for name, tensor in expected.items())
        tokens = torch.arange(48)[None]
        assert wrong_logits(logits(model, tokens)[..., :512], hf_logits(hf, tokens)) == []
    assert_exported(tiny.hf, state, tmp_path / "hf")


def test_a_tokenizer_that_was_given_relative_to_another_folder_is_the_copy_in_the_release(tiny, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "elsewhere").mkdir()
    shutil.copytree(tiny.hf, tmp_path / "here/hf")
    monkeypatch.chdir(tmp_path / "here")
    AutoBridge.import_ckpt("hf", "root")
    monkeypatch.chdir(tmp_path / "elsewhere")
    repair(Path("../here/root"))
    root = tmp_path / "here/root"
    args = torch.load(root / "release/common.pt", weights_only=True)["args"]
    assert os.path.isabs(args.tokenizer_model) and os.path.samefile(args.tokenizer_model, root / "release/tokenizer")
    assert check(root).loadable and check(root).made_of == "hf"


def test_a_vocabulary_that_upstream_does_not_pad_is_recorded_as_it_is(two_ranks, tmp_path):
    _, hf = two_ranks
    AutoBridge.import_ckpt(hf, tmp_path / "root")
    repair(tmp_path / "root")
    args = _args(tmp_path / "root")
    assert (args["vocab_size"], args["padded_vocab_size"], args["make_vocab_size_divisible_by"]) == (500, 500, 4)
    assert check(tmp_path / "root").loadable
    flags = ["--load", str(tmp_path / "root"), "--exit-on-missing-checkpoint", "--use-checkpoint-args"]
    with megatron_lm([*flags, "--norm-epsilon=1e-06"]) as args:
        model, _ = load(args)
        expected = megatron_tensors(load_hf(hf), 500)
        found = dict(model.named_parameters())
        assert all(torch.equal(found[name].float(), tensor) for name, tensor in expected.items())


def test_revert_gives_upstreams_import_back_byte_for_byte(default, tmp_path, capsys):
    root = Path(shutil.copytree(default, tmp_path / "root"))
    repair(root)
    repaired = contents(root)
    assert main(["revert", str(root), "--dry-run"]) == 0
    assert contents(root) == repaired
    assert main(["revert", str(root)]) == 0
    assert contents(root) == contents(default)
    capsys.readouterr()
    assert main(["revert", str(root)]) == 0
    assert capsys.readouterr().out == "nothing to do\n"
    repair(root)
    assert contents(root) == repaired


def test_an_import_that_is_reverted_has_upstreams_files_and_bridge_reads_it(tiny, default, tmp_path):
    root = Path(shutil.copytree(tiny.root, tmp_path / "root"))
    revert(root)
    # Upstream writes its tensors to one file.
    tensors = {f"iter_0000000/{file.name}" for file in (tiny.root / "release").glob("*.distcp")}
    assert contents(root).keys() == contents(default).keys() - {f"iter_0000000/{SHARD}"} | tensors
    assert (root / TRACKER).read_text() == "0"
    assert_exported(tiny.hf, root, tmp_path / "hf")


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
    _tracker_release(root)


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
    _changed_config("  num_layers: 2\n", "  num_layers: 99\n"): "args say 99 by 64 by 64. Import the model again.",
    _changed_config("  ffn_hidden_size: 96\n", "  other: 1\n"): "args.ffn_hidden_size is None, no number.",
    _changed_config(
        "  _target_: megatron.bridge.models.gpt_provider.GPTModelProvider\n", "  x: 1\n"
    ): "KeyError: '_targ",
    _changed_config(
        "  tensor_model_parallel_size: 1\n  tensor_parallel", "  tensor_model_parallel_size: 0\n  tensor_parallel"
    ): "does not describe",
    _notes_beside_a_linked_copy: "holds more than one checkpoint: iter_0000000, release.",
    _pipe: "pipe.json is a link, or no file: it is not followed. Put the file itself there.",
    _list_of_steps: "train_state.pt is no train state (train_state.pt cannot be read: it holds a list)",
    _linked_tracker: f"{TRACKER} is a link, or no file: it is not followed. Put the file itself there.",
    _trained: "holds checkpoints of a training (iter_0000100), not only an import.",
    _tracker_of_a_training: "says 100: training has gone on in it, and its checkpoint is not there. Restore that, or",
    _at_iteration_5: "iter_0000000 is a checkpoint of a training: it is at iteration 5.",
    _with_optimizer_state: "iter_0000000 is a checkpoint of a training: it holds optimizer state.",
    _two_checkpoints: "holds more than one checkpoint: iter_0000000, release. Move away those that you do not want",
    _two_nested: "holds more than one checkpoint: release, release/iter_0000000. Move away those",
    _no_run_config: "run_config.yaml is missing. Restore it from a copy, or import the model again.",
    _unknown_model: "run_config.yaml names the model 'os.system', which this Megatron-Bridge does not know.",
    _cut: f"{SHARD} has 1000 bytes and should have ",
    _half_a_copy: "release holds no checkpoint, but files. Move it away, then repair again.",
    _nothing: "holds no checkpoint. Import the model again, or give another folder.",
}


@pytest.mark.parametrize("spoil", REFUSED, ids=lambda spoil: spoil.__name__)
def test_what_is_no_whole_import_alone_is_refused_and_nothing_changes(spoil, default, tmp_path, capsys):
    root = Path(shutil.copytree(default, tmp_path / "root"))
    spoil(root)
    before, names = contents(root), {path.name for path in root.iterdir()}
    assert main(["repair", str(root)]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and REFUSED[spoil] in error
    assert contents(root) == before
    assert {path.name for path in root.iterdir()} == names


def test_a_file_may_have_any_name(default, tmp_path):
    root = Path(shutil.copytree(default, tmp_path / "root"))
    for name in ("two\nlines", "back\\slash", "\udcff"):
        (root / "iter_0000000" / name).write_text("")
    repair(root)
    assert check(root).loadable and not check(root).notes
    verify_integrity_manifest(str(root / "release"))


def test_a_root_where_an_import_is_at_work_is_left_alone(default, tmp_path, capsys):
    root = Path(shutil.copytree(default, tmp_path / "root"))
    publication = Publication(root)
    publication.begin()
    try:
        for options in ([], ["--dry-run"]):
            assert main(["repair", str(root), *options]) == 1
            shown = capsys.readouterr()
            assert f"Another import is writing into {root} (process {os.getpid()} on " in shown.err
            assert shown.out == ""
    finally:
        publication.end()
    assert contents(root) == contents(default)


def test_what_an_overwrite_without_exchange_was_cut_short_in_is_taken_back(default, tmp_path, capsys):
    root = Path(shutil.copytree(default, tmp_path / "root"))
    repair(root)
    expected = contents(root)
    (root / ".release-replaced-x").mkdir()
    (root / "release").rename(root / ".release-replaced-x" / "release")
    assert main(["check", str(root)]) == 1
    assert "has its release in .release-replaced-x/, where an overwrite that was cut short" in capsys.readouterr().out
    took = "take release/ back from .release-replaced-x/, where an overwrite that was cut short left it\n"
    for command in (["repair", str(root), "--dry-run"], ["repair", str(root)]):
        assert main(command) == 0
        assert capsys.readouterr().out == took
    assert contents(root) == expected


def test_a_release_whose_revert_died_stays_where_its_tracker_is_lost(default, tmp_path):
    root = Path(shutil.copytree(default, tmp_path / "root"))
    repair(root)
    expected = contents(root)
    publication = Publication(root, "iter_0000000")
    staging = publication.begin()
    shutil.copytree(root / "release", staging / "iter_0000000", copy_function=os.link)
    (staging / TRACKER).write_text("0")
    os.close(publication._lock)
    (root / TRACKER).unlink()
    repair(root)
    assert contents(root) == expected


def test_where_a_file_can_get_no_second_name_nothing_changes(default, tmp_path, monkeypatch, capsys):
    def no_links(*_) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    root = Path(shutil.copytree(default, tmp_path / "root"))
    monkeypatch.setattr(Filesystem, "link", no_links)
    assert main(["repair", str(root)]) == 1
    assert "can get no second name: its filesystem has no hard links, or it is" in capsys.readouterr().err
    assert contents(root) == contents(default)


def test_no_link_of_a_publications_name_is_followed(default, tmp_path, capsys):
    outside = tmp_path / "outside"
    (outside / "release").mkdir(parents=True)
    (outside / "file").write_text("not yours")
    root = Path(shutil.copytree(default, tmp_path / "root"))
    (root / ".release-lock").symlink_to(outside / "file")
    assert main(["repair", str(root)]) == 1
    assert f"{root / '.release-lock'} is a link, which no import makes. Remove it." in capsys.readouterr().err
    (root / ".release-lock").unlink()
    for name in (".release-replaced-x", ".release-staging-x"):
        (root / name).symlink_to(outside)
    repair(root)
    assert check(root).loadable
    assert (outside / "file").read_text() == "not yours" and list((outside / "release").iterdir()) == []
    assert (root / ".release-staging-x").is_symlink()


def _read(root: Path) -> dict[str, bytes] | None:
    """What Bridge finds: the bytes of the tensors; None where its tracker names nothing, as before the repair."""
    try:
        folder = Path(resolve_checkpoint_folder(root))
    except (ValueError, FileNotFoundError):
        return None
    if not (folder / ".metadata").exists():
        return None
    assert (folder / "run_config.yaml").exists() and (folder / "tokenizer" / "tokenizer.json").exists()
    return {name: (folder / name).read_bytes() for name in (".metadata", SHARD)}


def _stepping(root: Path, action: Callable[[Path], object], filesystem: Filesystem) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(publishing, "Publication", partial(Publication, filesystem=filesystem))
        action(root)


CASES = pytest.mark.parametrize(
    ("name", "exchanges"),
    [
        ("upstream's import", True),
        ("args of seven fields", True),
        ("args of seven fields", False),
        ("release/iter_0000001", False),
        ("revert", True),
    ],
)


def _prepare(name: str, default: Path, root: Path) -> Callable[[Path], object]:
    """Make a root, and tell what to do with it."""
    shutil.copytree(default, root)
    if name == "revert":
        repair(root)
        return revert
    STATES[name](root)
    return repair


def _ends_as(root: Path) -> dict[str, bytes]:
    """What there is at the end; but the args name the root, which is another one each time."""
    found = contents(root)
    return {name: found[name] for name in found if not name.endswith(("common.pt", "integrity.json"))}


@CASES
def test_killed_at_any_operation_the_checkpoint_is_there_and_the_next_run_goes_on(
    name, exchanges, default, tmp_path, count
):
    made, counted = tmp_path / "made", tmp_path / "counted"
    action = _prepare(name, default, made)
    before, whole = _read(made), _read(default)
    filesystem = Stepping(lambda *_: None, exchanges)
    _stepping(Path(shutil.copytree(made, counted)), action, filesystem)
    lost = []
    count("SIGKILL", "repair", len(range(1, filesystem.steps, 2)))
    # What is there after an operation is what is there before the next one.
    for step in range(1, filesystem.steps, 2):
        root = Path(shutil.copytree(made, tmp_path / str(step)))
        assert killed_at(step, lambda stepping: _stepping(root, action, stepping), exchanges)
        if _read(root) not in (before, whole):
            lost.append(step)
        action(root)
        assert _ends_as(root) == _ends_as(counted)
    # A filesystem that cannot exchange takes two renames: between them there is nothing, until the next run.
    assert len(lost) == (0 if exchanges or before is None else 1)


@CASES
def test_power_lost_at_any_operation_leaves_the_checkpoint_and_the_next_run_goes_on(
    name, exchanges, default, tmp_path, count
):
    made, root = tmp_path / "made", tmp_path / "root"
    action = _prepare(name, default, made)
    before, whole = _read(made), _read(default)
    filesystem = LosingPower(Path(shutil.copytree(made, root)), exchanges)
    _stepping(root, action, filesystem)
    assert len(filesystem.states) > 50
    count("power cut", "repair", len(filesystem.states))
    last = None
    for number, state in enumerate(filesystem.states):
        if state == last:
            continue
        left, last = tmp_path / f"left{number}", state
        filesystem.restore(state, left)
        assert _read(left) in (before, whole)
        action(left)
        assert _ends_as(left) == _ends_as(root)


@CASES
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
def test_an_error_of_any_operation_is_the_one_reported_and_loses_nothing(
    name, exchanges, error, default, tmp_path, count
):
    made, counted = tmp_path / "made", tmp_path / "counted"
    action = _prepare(name, default, made)
    before, whole = _read(made), _read(default)
    filesystem = Stepping(lambda *_: None, exchanges)
    _stepping(Path(shutil.copytree(made, counted)), action, filesystem)
    reported, injected = 0, []
    # Every third: an operation before which, or after which, it fails.
    for step in range(0, filesystem.steps, 3):
        root = Path(shutil.copytree(made, tmp_path / str(step)))

        def fail(number: int, operation: str, done: bool) -> None:
            if number == step and not (operation == "lock" and done):
                injected.append(step)
                raise OSError(error, os.strerror(error))

        try:
            _stepping(root, action, Stepping(fail, exchanges))
        except OSError as raised:
            assert raised.errno == error
            reported += 1
        assert _read(root) in (before, whole)
        action(root)
        assert _ends_as(root) == _ends_as(counted)
    assert reported > 15
    count("ENOSPC, EIO, at every third", "repair", len(injected))
