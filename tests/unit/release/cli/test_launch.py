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

"""`launch` prints the command that starts Megatron-LM from a checkpoint directory, or refuses it."""

import json
import shlex
import shutil
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import yaml

from megatron.bridge.release.__main__ import main
from megatron.bridge.release.cli.launch import _model_args
from megatron.bridge.release.verify.launch import RUN_FLAGS


def _flags(release) -> list[str]:
    return (release.folder / "megatron_lm_args.txt").read_text().split()


def _words(release) -> list[str]:
    tokenizer = ["--tokenizer-type", "HuggingFaceTokenizer", "--tokenizer-model", f"{release.folder}/tokenizer"]
    load = ["--load", str(release.root), "--exit-on-missing-checkpoint"]
    return ["torchrun", "pretrain_gpt.py", *_flags(release), *tokenizer, *load, *RUN_FLAGS]


def _error(capsys, *words: str) -> str:
    assert main(["launch", *words]) == 1
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith("error: ") and shown.err.count("\n") == 1
    return shown.err


def test_command_contains_every_flag_of_the_release(release, capsys, monkeypatch):
    monkeypatch.chdir(release.root.parent)
    assert main(["launch", release.root.name]) == 0
    assert capsys.readouterr().out.split() == _words(release)
    assert main(["launch", release.root.name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "root": str(release.root),
        "launch": _words(release)[2:],
        "command": _words(release),
    }


def test_check_prints_absolute_paths(release, capsys, monkeypatch):
    monkeypatch.chdir(release.root.parent)
    assert main(["check", release.root.name]) == 0
    assert f"  {' '.join(_words(release))}" in capsys.readouterr().out.splitlines()


def test_yaml_contains_switches_as_true(release, capsys):
    assert main(["launch", str(release.root), "--format", "yaml"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == {
        "MODEL_ARGS": {
            **{
                name: value if has_value else True
                for name, has_value, value in (flag.partition("=") for flag in _flags(release))
            },
            "--tokenizer-type": "HuggingFaceTokenizer",
            "--tokenizer-model": f"{release.folder}/tokenizer",
            "--load": str(release.root),
            "--exit-on-missing-checkpoint": True,
            "--save-interval": "500",
            "--eval-interval": "500",
            "--eval-iters": "0",
        }
    }
    assert _model_args(["--a", "--b=c=d", "--e", "-1", "--f="]) == {"--a": True, "--b": "c=d", "--e": "-1", "--f": ""}
    assert _model_args([]) == {}


def _train(release, **changes: Any) -> Any:
    """Write what a training saves at step 5, with other args than the release's."""
    step = type(release)(release.root, "iter_0000005")
    step.folder.mkdir()
    (step.folder / ".metadata").write_bytes((release.folder / ".metadata").read_bytes())
    step.write_args(**changes)
    release.tracker.write_text("5")
    return step


def _changed(capsys, release) -> tuple[set[str], set[str]]:
    """Return the flags that are not those of the release, and those of the release that are not there."""
    assert main(["launch", str(release.root), "--json"]) == 0
    flags = json.loads(capsys.readouterr().out)["launch"]
    return set(flags) - set(_words(release)), set(_words(release)) - set(flags) - {"torchrun", "pretrain_gpt.py"}


def test_launch_prints_release_flags_for_training_checkpoint(release, capsys):
    # A user chooses these again when the training continues.
    _train(release, attention_dropout=0.3, seq_length=64, bf16=True, moe_aux_loss_coeff=1.0, lr=1.0)
    assert main(["launch", str(release.root)]) == 0
    shown = capsys.readouterr()
    assert shown.out.split() == _words(release) and shown.err == ""


@pytest.mark.parametrize(
    ("trained", "added", "removed"),
    [
        ({"rotary_base": 500000}, {"--rotary-base=500000"}, {"--rotary-base=10000"}),
        ({"layernorm_epsilon": 1e-6}, {"--norm-epsilon=1e-06"}, {"--norm-epsilon=1e-05"}),
        ({"max_position_embeddings": 8192}, {"--max-position-embeddings=8192"}, {"--max-position-embeddings=2048"}),
        ({"rotary_seq_len_interpolation_factor": 4}, {"--rotary-seq-len-interpolation-factor=4"}, set()),
        ({"padded_vocab_size": 16}, {"--padded-vocab-size=16"}, {"--padded-vocab-size=8"}),
        ({"window_size": (7, 0)}, {"--window-size=7,0"}, set()),
        ({"qk_layernorm": True}, {"--qk-layernorm"}, set()),
        (
            {"use_rope_scaling": True, "rope_scaling_factor": 8.0},
            {"--use-rope-scaling", "--rope-scaling-factor=8.0"},
            set(),
        ),
    ],
)
def test_command_contains_changes_of_a_training(release, trained, added, removed, capsys):
    _train(release, **trained)
    assert main(["launch", str(release.root)]) == 0
    (note,) = capsys.readouterr().err.splitlines()
    assert note.startswith("note: ") and "(release: " in note
    assert _changed(capsys, release) == (added, removed)


@pytest.mark.parametrize(
    ("released", "note"),
    [
        (
            {"rotary_seq_len_interpolation_factor": 4, "qk_layernorm": True},
            "qk_layernorm=False (release: True), rotary_seq_len_interpolation_factor=None (release: 4)",
        ),
        (
            {"use_rope_scaling": True, "rope_scaling_factor": 32.0},
            "rope_scaling_factor=None (release: 32.0), use_rope_scaling=None (release: True)",
        ),
        ({"max_position_embeddings": 8192, "seq_length": 8192}, "max_position_embeddings=2048 (release: 8192)"),
    ],
)
def test_training_may_remove_arguments_of_the_release(release, released, note, capsys):
    release.write_args(**released)
    release.seal()
    _train(release)
    assert main(["launch", str(release.root)]) == 0
    shown = capsys.readouterr()
    assert shown.out.split() == _words(release)
    assert shown.err.endswith(f": {note}\n")


@pytest.mark.parametrize(
    ("recorded", "factor"), [({"built_rope_scaling_factor": 16.0}, "16.0"), ({"rope_scaling_factor": 8.0}, "8.0")]
)
def test_launch_uses_rope_scaling_factor_of_training(release, recorded, factor, capsys):
    rope = {"use_rope_scaling": True, "rope_scaling_factor": 32.0}
    release.write_args(**rope)
    release.seal()
    _train(release, **rope | recorded)
    assert main(["launch", str(release.root)]) == 0
    shown = capsys.readouterr()
    assert f"--rope-scaling-factor={factor}" in shown.out.split()
    assert shown.out.startswith("torchrun -m ") == (factor != "8.0")
    assert f"rope_scaling_factor={factor} (release: 32.0)" in shown.err


@pytest.mark.parametrize(
    ("trained", "named"),
    [
        ({"spec": ["module", "layers"]}, "spec=('module', 'layers') (release: None)"),
        ({"heterogeneous_layers_config_path": "x"}, "heterogeneous_layers_config_path='x' (release: None)"),
        # Megatron-LM's parser takes integers.
        ({"rotary_base": 10000.5}, "rotary_base=10000.5 (release: 10000)"),
        ({"group_query_attention": True, "num_query_groups": 1}, "num_query_groups=1 (release: 2)"),
        ({"use_rope_scaling": True, "rope_scaling_factor": 32.0}, "do not record which factor"),
        ({"num_layers": None}, "args.num_layers must be an integer, got None"),
        ({"layernorm_epsilon": "1e-3"}, "args contain layernorm_epsilon='1e-3', which is not a number"),
        ({"layernorm_epsilon": float("nan")}, "args contain layernorm_epsilon=nan, which is not finite"),
        (
            {"use_rope_scaling": True, "built_rope_scaling_factor": "abc"},
            "args contain built_rope_scaling_factor='abc', which is not a number",
        ),
        # The tokenizer that it belongs to is not the release's.
        ({"vocab_size": 9, "padded_vocab_size": 16}, "vocab_size=9 (release: 8)"),
        ({"vocab_size": 7}, "vocab_size=7 (release: 8)"),
        ({"vocab_size": None, "padded_vocab_size": 16}, "vocab_size=None (release: 8)"),
    ],
)
def test_training_that_no_flags_express_is_refused(release, trained, named, capsys):
    step = _train(release, **trained)
    error = _error(capsys, str(release.root))
    assert str(step.folder) in error and named in error
    assert f"those of the release are in {release.folder}/megatron_lm_args.txt." in error


@pytest.mark.parametrize("name", ["layernorm_epsilon", "qk_layernorm", "use_rope_scaling"])
def test_incomplete_args_are_refused(release, args, name, capsys):
    step = _train(release)
    values = {key: value for key, value in args.items() if key != name}
    step.write_state("common.pt", {"iteration": 5, "args": Namespace(**values)})
    assert f"{step.folder}: The checkpoint's args lack {name}, so" in _error(capsys, str(release.root))


@pytest.mark.parametrize("value", ["x y", "x;y", "$x", "x'y", "x\\y", "x?", "`x`", "x\ny"])
def test_argument_that_a_shell_changes_is_refused(release, value, capsys):
    step = _train(release, position_embedding_type=value)
    error = _error(capsys, str(release.root))
    assert str(step.folder) in error and " ".join(shlex.quote(f"--position-embedding-type={value}").split()) in error


def test_training_without_vocab_size_uses_the_releases(release, capsys):
    _train(release, vocab_size=None)
    assert _changed(capsys, release) == (set(), set())


def test_training_without_args_is_refused(release, capsys):
    step = _train(release)
    step.write_state("common.pt", {"iteration": 5})
    assert f"{step.folder}: the stored args lack " in _error(capsys, str(release.root))
    (step.folder / "common.pt").write_bytes(b"PK")
    assert f"{step.folder}: common.pt is corrupt" in _error(capsys, str(release.root))


def test_args_of_core_0_19_are_read(release, args, capsys):
    step = _train(release)
    (step.folder / "common.pt").unlink()
    step.write_tensors(common={"iteration": 5, "args": Namespace(**args | {"rotary_base": 7})})
    assert _changed(capsys, release) == ({"--rotary-base=7"}, {"--rotary-base=10000"})


def test_older_names_of_arguments_are_read(release, args, capsys):
    step = _train(release)
    older = {name: value for name, value in args.items() if name != "layernorm_epsilon"} | {"norm_epsilon": 1e-6}
    step.write_state("common.pt", {"iteration": 5, "args": Namespace(**older)})
    assert _changed(capsys, release) == ({"--norm-epsilon=1e-06"}, {"--norm-epsilon=1e-05"})


def test_flags_come_from_the_args_not_from_the_flags_file(release, capsys):
    expected = _words(release)
    (release.folder / "integrity.json").unlink()
    (release.folder / "megatron_lm_args.txt").write_text("--num-layers=99\n")
    assert main(["launch", str(release.root)]) == 0
    assert capsys.readouterr().out.split() == expected


@pytest.mark.parametrize(("longest", "given"), [(131072, 4096), (4097, 4096), (4096, 4096), (2048, 2048)])
def test_seq_length_is_at_most_4096_by_default(release, longest, given, capsys):
    release.write_args(seq_length=longest, max_position_embeddings=longest)
    release.seal()
    assert main(["launch", str(release.root), "--json"]) == 0
    flags = json.loads(capsys.readouterr().out)["launch"]
    assert [flag for flag in flags if flag.startswith("--seq-length")] == [f"--seq-length={given}"]
    assert f"--max-position-embeddings={longest}" in flags


@pytest.mark.parametrize(
    ("rope", "entry_point"),
    [
        ({"use_rope_scaling": True, "rope_scaling_factor": 32.0}, True),
        ({"use_rope_scaling": True, "rope_scaling_factor": 8.0}, False),
        ({"use_rope_scaling": True}, False),
        ({"rope_scaling_factor": 32.0}, False),
    ],
)
def test_ignored_rope_factor_starts_the_entry_point(release, rope, entry_point, capsys):
    release.write_args(**rope)
    release.seal()
    assert main(["launch", str(release.root)]) == 0
    words = capsys.readouterr().out.split()
    module = ["-m", "megatron.bridge.release.megatron_lm"] if entry_point else []
    assert words[: words.index("pretrain_gpt.py")] == ["torchrun", *module]
    assert ("--entry-point=megatron.bridge.release.megatron_lm" in words) == entry_point


def test_path_with_a_space_is_refused_for_the_shell(release, capsys):
    release.root = release.root.rename(release.root.with_name("a root"))
    assert "needs shell quoting" in _error(capsys, str(release.root))
    assert main(["launch", str(release.root), "--format", "yaml"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["MODEL_ARGS"]["--load"] == str(release.root)


def test_path_of_the_named_release_is_checked_for_the_shell(release, tmp_path, capsys):
    _train(release)
    trained = tmp_path / "trained"
    trained.mkdir()
    (release.root / "iter_0000005").rename(trained / "iter_0000005")
    release.tracker.rename(trained / release.tracker.name)
    release.tracker.write_text("release")
    assert main(["launch", str(trained), "--release", str(release.root)]) == 0
    capsys.readouterr()
    spaced = release.root.rename(release.root.with_name("a root"))
    assert f"'{spaced}/release' needs shell quoting" in _error(capsys, str(trained), "--release", str(spaced))


def test_path_with_a_glob_is_refused_for_the_shell(release, capsys):
    for name in ("root[1]", "root;x", "$HOME"):
        release.root = release.root.rename(release.root.with_name(name))
        assert "needs shell quoting" in _error(capsys, str(release.root))
    release.root = release.root.rename(release.root.with_name("ünï-1.2"))
    assert main(["launch", str(release.root)]) == 0


def _no_tracker(release) -> None:
    release.tracker.unlink()


def _torn_tracker(release) -> None:
    release.tracker.write_text("relea")


def _missing_folder(release) -> None:
    release.tracker.write_text("7")


def _interrupted_overwrite(release) -> None:
    (release.root / ".release-replaced-abc").mkdir()
    release.folder.rename(release.root / ".release-replaced-abc/release")


def _import_of_upstreams(release) -> None:
    release.rename("iter_0000000", "0")


def _no_args(release) -> None:
    release.write_state("common.pt", {"iteration": 0})
    release.seal()


def _linked_release(release) -> None:
    elsewhere = release.folder.rename(release.root.parent / "elsewhere")
    release.folder.symlink_to(elsewhere)


def _other_args(release) -> None:
    release.write_args(rotary_base=7)


def _no_tokenizer(release) -> None:
    shutil.rmtree(release.folder / "tokenizer")


def _torn_manifest(release) -> None:
    (release.folder / "integrity.json").write_text('{"files": ')


@pytest.mark.parametrize(
    ("spoil", "says", "advises"),
    [
        (_no_tracker, "has no latest_checkpointed_iteration.txt", "repair"),
        (_torn_tracker, "latest_checkpointed_iteration.txt", ""),
        (_missing_folder, "which does not exist. Checkpoints found: release. Restore the checkpoint", ""),
        (_interrupted_overwrite, "an interrupted --overwrite left it in .release-replaced-abc/", "repair"),
        (_import_of_upstreams, "contains an import of iteration 0", "repair"),
        (_no_args, "the stored args lack num_layers", "repair"),
        (_linked_release, "contains no release. ", ""),
        (_other_args, "common.pt is corrupt (checksum mismatch)", "repair"),
        (_no_tokenizer, "tokenizer/tokenizer.json is missing. Restore it from a copy", ""),
        (_torn_manifest, "integrity.json is corrupt", "repair"),
    ],
)
def test_checkpoint_that_cannot_be_started_is_refused(release, spoil, says, advises, capsys):
    spoil(release)
    error = _error(capsys, str(release.root))
    assert says in error and (
        not advises or f"megatron.bridge.release {advises} {shlex.quote(str(release.root))}" in error
    )


def test_path_without_a_checkpoint_directory_is_refused(tmp_path, capsys):
    assert "does not exist" in _error(capsys, str(tmp_path / "gone"))
    (tmp_path / "file").write_text("")
    assert "is a file" in _error(capsys, str(Path(tmp_path, "file")))
