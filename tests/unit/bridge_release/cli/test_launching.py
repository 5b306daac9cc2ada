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

"""`launch` prints what starts Megatron-LM from a root, or says why nothing does."""

import json
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from megatron.bridge_release.__main__ import main
from megatron.bridge_release.cli.launching import _model_args
from megatron.bridge_release.launch_flags import RUN_FLAGS


def _words(release) -> list[str]:
    tokenizer = ["--tokenizer-type", "HuggingFaceTokenizer", "--tokenizer-model", f"{release.folder}/tokenizer"]
    load = ["--load", str(release.root), "--exit-on-missing-checkpoint"]
    return ["torchrun", "pretrain_gpt.py", "--num-layers=2", "--hidden-size=4", *tokenizer, *load, *RUN_FLAGS]


def _error(capsys, *words: str) -> str:
    assert main(["launch", *words]) == 1
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith("error: ") and shown.err.count("\n") == 1
    return shown.err


def test_the_command_has_every_flag_of_the_release(release, capsys, monkeypatch):
    monkeypatch.chdir(release.root.parent)
    assert main(["launch", release.root.name]) == 0
    assert capsys.readouterr().out.split() == _words(release)
    assert main(["launch", release.root.name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "root": str(release.root),
        "launch": _words(release)[2:],
        "command": _words(release),
    }


def test_what_check_prints_is_the_same_wherever_the_root_is_looked_at_from(release, capsys, monkeypatch):
    monkeypatch.chdir(release.root.parent)
    assert main(["check", release.root.name]) == 0
    assert f"  {' '.join(_words(release))}" in capsys.readouterr().out.splitlines()


def test_yaml_has_a_switch_as_true_and_a_value_however_it_was_given(release, capsys):
    assert main(["launch", str(release.root), "--format", "yaml"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == {
        "MODEL_ARGS": {
            "--num-layers": "2",
            "--hidden-size": "4",
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


def test_where_training_has_gone_on_it_goes_on_with_the_releases_flags(release, capsys):
    step = release.root / "iter_0000005"
    step.mkdir()
    (step / ".metadata").write_bytes((release.folder / ".metadata").read_bytes())
    release.tracker.write_text("5")
    assert main(["launch", str(release.root)]) == 0
    assert capsys.readouterr().out.split() == _words(release)


def _write_flags(release, *flags: str) -> None:
    (release.folder / "megatron_lm_args.txt").write_text("".join(f"{flag}\n" for flag in flags))
    release.seal()


@pytest.mark.parametrize("longest, given", [("131072", ["4096"]), ("4097", ["4096"]), ("4096", []), ("2048", [])])
def test_sequences_are_at_most_4096_tokens_by_default(release, longest, given, capsys):
    _write_flags(release, "--num-layers=2", f"--seq-length={longest}", f"--max-position-embeddings={longest}")
    assert main(["launch", str(release.root), "--json"]) == 0
    flags = json.loads(capsys.readouterr().out)["launch"]
    assert [following for flag, following in zip(flags, flags[1:]) if flag == "--seq-length"] == given


@pytest.mark.parametrize(
    "rope, entry_point",
    [
        (
            ["--use-rope-scaling", "--rope-scaling-factor=32.0", "--entry-point=megatron.bridge_release.megatron_lm"],
            True,
        ),
        # Releases written before there was an entry point.
        (["--use-rope-scaling", "--rope-scaling-factor=32.0"], True),
        (["--use-rope-scaling", "--rope-scaling-factor=8.0"], False),
        (["--use-rope-scaling"], False),
        ([], False),
    ],
)
def test_a_factor_that_megatron_lm_ignores_is_launched_by_the_entry_point(release, rope, entry_point, capsys):
    _write_flags(release, "--num-layers=2", *rope)
    assert main(["launch", str(release.root)]) == 0
    words = capsys.readouterr().out.split()
    module = ["-m", "megatron.bridge_release.megatron_lm"] if entry_point else []
    assert words[: words.index("pretrain_gpt.py")] == ["torchrun", *module]


def test_a_path_with_a_space_is_not_for_a_shell_that_takes_words_apart(release, capsys):
    release.root = release.root.rename(release.root.with_name("a root"))
    assert "has a character in it, such as a space" in _error(capsys, str(release.root))
    assert main(["launch", str(release.root), "--format", "yaml"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["MODEL_ARGS"]["--load"] == str(release.root)


def test_a_path_that_a_shell_would_fill_in_is_refused(release, capsys):
    for name in ("root[1]", "root;x", "$HOME"):
        release.root = release.root.rename(release.root.with_name(name))
        assert "has a character in it, such as a space" in _error(capsys, str(release.root))
    release.root = release.root.rename(release.root.with_name("ünï-1.2"))
    assert main(["launch", str(release.root)]) == 0


def _no_tracker(release) -> None:
    release.tracker.unlink()


def _torn_tracker(release) -> None:
    release.tracker.write_text("relea")


def _missing_folder(release) -> None:
    release.tracker.write_text("7")


def _import_of_upstreams(release) -> None:
    release.rename("iter_0000000", "0")


def _no_flags(release) -> None:
    (release.folder / "megatron_lm_args.txt").unlink()


def _flags_from_elsewhere(release) -> None:
    flags = release.folder / "megatron_lm_args.txt"
    flags.rename(release.root.parent / "flags")
    flags.symlink_to(release.root.parent / "flags")


def _other_flags(release) -> None:
    (release.folder / "megatron_lm_args.txt").write_text("--num-layers=99; rm -rf /\n")


def _no_tokenizer(release) -> None:
    shutil.rmtree(release.folder / "tokenizer")


def _torn_manifest(release) -> None:
    (release.folder / "integrity.json").write_text('{"files": ')


@pytest.mark.parametrize(
    ("spoil", "says", "advises"),
    [
        (_no_tracker, "has no latest_checkpointed_iteration.txt", "check"),
        (_torn_tracker, "latest_checkpointed_iteration.txt", ""),
        (_missing_folder, "names iter_0000007, which contains no checkpoint", "check"),
        (_import_of_upstreams, "holds upstream's import", "repair"),
        (_no_flags, "has no megatron_lm_args.txt", "repair"),
        (_flags_from_elsewhere, "has no megatron_lm_args.txt", "repair"),
        (_other_flags, "megatron_lm_args.txt has another checksum than integrity.json says", "check"),
        (_no_tokenizer, "tokenizer/tokenizer.json is missing", "check"),
        (_torn_manifest, "integrity.json is damaged", "check"),
    ],
)
def test_where_megatron_lm_does_not_start_it_is_said_with_what_to_do(release, spoil, says, advises, capsys):
    spoil(release)
    error = _error(capsys, str(release.root))
    assert says in error and (
        not advises or f"megatron.bridge_release {advises} {shlex.quote(str(release.root))}" in error
    )


def test_what_is_no_root_is_refused(tmp_path, capsys):
    assert "does not exist" in _error(capsys, str(tmp_path / "gone"))
    (tmp_path / "file").write_text("")
    assert "is a file" in _error(capsys, str(Path(tmp_path, "file")))
