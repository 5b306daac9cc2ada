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

"""The command line: what it prints, where, and with which status it ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from megatron.bridge.release.__main__ import main
from megatron.bridge.release.layout import TRAIN_STATE_TRACKER
from megatron.bridge.release.verify.comparison_findings import LogitComparison
from megatron.bridge.release.verify.findings import MissingContent


def _usage_error(capsys, *arguments: str) -> str:
    """What is printed of a wrong command line."""
    with pytest.raises(SystemExit) as error:
        main(list(arguments))
    assert error.value.code == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith("usage: python -m megatron.bridge.release")
    return shown.err


@pytest.mark.parametrize("command", ["check", "repair"])
def test_command_requires_single_checkpoint_directory(capsys, command):
    assert "the following arguments are required: CKPT" in _usage_error(capsys, command)
    assert "unrecognized arguments: b" in _usage_error(capsys, command, "a", "b")


def test_missing_or_unknown_command_is_usage_error(capsys):
    assert "the following arguments are required: COMMAND" in _usage_error(capsys)
    assert "invalid choice: 'mend'" in _usage_error(capsys, "mend", "root")


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("check", "--dry-run"),
        ("launch", "--dry-run"),
        ("import", "--format"),
        ("export", "--overwrite"),
        ("repair", "--made-of"),
        ("repair", "--compute"),
    ],
)
def test_option_of_different_command_is_usage_error(capsys, command, option):
    words = ["root"] if command not in ("import", "export") else ["hf", "root", "out"][: 2 + (command == "export")]
    assert f"unrecognized arguments: {option}" in _usage_error(capsys, command, *words, option)


@pytest.mark.parametrize("option", ["--overwrit", "--no-log", "--trust"])
def test_abbreviated_option_is_usage_error(capsys, option):
    assert f"unrecognized arguments: {option}" in _usage_error(capsys, "import", "hf", "root", option)


@pytest.mark.parametrize("option", ["--deep", "--made-of", "--compute"])
def test_option_without_model_is_usage_error(capsys, option):
    assert f"argument {option}: expected one argument" in _usage_error(capsys, "check", "root", option)


@pytest.mark.parametrize("command", ["check", "launch", "repair"])
def test_unknown_option_prints_usage_of_command(capsys, command):
    shown = _usage_error(capsys, command, "root", "--lr", "1e-5")
    assert shown.startswith(f"usage: python -m megatron.bridge.release {command} [-h]")
    error = f"python -m megatron.bridge.release {command}: error: unrecognized arguments: --lr 1e-5"
    advice = ". Append your own flags after $(python -m megatron.bridge.release launch CKPT)"
    assert shown.splitlines()[-1] == error + (advice if command == "launch" else "")


def test_help_is_no_error_and_names_the_commands(capsys):
    with pytest.raises(SystemExit) as error:
        main(["--help"])
    shown = capsys.readouterr().out
    commands = ("import", "export", "check", "launch", "repair")
    assert error.value.code == 0 and all(f"    {command} " in shown for command in commands)
    for command in commands:
        with pytest.raises(SystemExit):
            main([command, "--help"])
        shown = capsys.readouterr().out
        assert f"example:\n  python -m megatron.bridge.release {command} " in shown and "exit status:" in shown


@pytest.mark.parametrize(
    "words", [["check", ""], ["import", "hf", ""], ["export", "root", "hf", ""]], ids=lambda words: words[0]
)
def test_empty_path_is_usage_error(capsys, words):
    assert "'' is not a path" in _usage_error(capsys, *words)


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- 2>&-"])
def test_check_prints_json_when_stdin_or_stderr_is_closed(release, closed):
    command = f"{sys.executable} -m megatron.bridge.release check {release.root} --json {closed}"
    run = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert run.returncode == 0 and json.loads(run.stdout)["loadable"] is True


@pytest.mark.parametrize("command", ["check", "check --json", "launch", "launch --json"])
def test_unwritable_output_prints_single_error_line(release, command):
    command = f"{sys.executable} -m megatron.bridge.release {command} {release.root}"
    run = subprocess.run(["bash", "-c", f"{command} >/dev/full"], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (1, "error: [Errno 28] No space left on device\n")
    assert subprocess.run(["bash", "-c", f"{command} >&-"], capture_output=True, text=True).stderr == ""


def test_module_runs_arguments_and_exits_with_the_status(release):
    for root, status in ((release.root, 0), (release.root / "gone", 1)):
        command = [sys.executable, "-m", "megatron.bridge.release", "check", str(root)]
        assert subprocess.run(command, capture_output=True).returncode == status


def test_loadable_release_shows_files_readers_and_launch(release, capsys):
    assert main(["check", str(release.root)]) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert shown.err == "" and lines[:3] == [
        f"{release.root}: release",
        "tracker: 'release'",
        "source model: org/name",
    ]
    for name in ("__0_0.distcp", "tokenizer/tokenizer.json"):
        (row,) = [line for line in lines if f" {name} " in line]
        assert f" {(release.folder / name).stat().st_size:,} " in row and " ok " in row
    (row,) = [line for line in lines if "upstream's" in line]
    assert " no " in row and "does not support releases" in row
    (launch,) = [at for at, line in enumerate(lines, 1) if line.startswith("To start Megatron-LM, run this")]
    assert lines[launch].startswith("  torchrun pretrain_gpt.py --num-layers=2 --hidden-size=4 --ffn-hidden-size=5 ")
    assert f" --load {release.root} --exit-on-missing-checkpoint " in lines[launch]
    assert lines[-1] == "OK: the checkpoint can be loaded."


def test_problems_are_numbered_and_readers_reference_numbers(release, capsys):
    release.tracker.unlink()
    (release.folder / "source.json").unlink()
    release.seal()
    (release.folder / "megatron_lm_args.txt").write_text("--other=1\n")
    assert main(["check", str(release.root)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "tracker: missing" and lines[2] == "source model: unknown"
    problems = [line for line in lines if line.startswith("problem ")]
    assert problems[0].startswith(f"problem 1: {release.root} has no latest_checkpointed_iteration.txt")
    assert problems[1].startswith(f"problem 2: {release.folder}/megatron_lm_args.txt is corrupt (checksum mismatch)")
    assert sum(" problem 1 " in line for line in lines if not line.startswith("problem")) == 4
    assert any(line.startswith(f"note: {release.folder} does not record its source model") for line in lines)
    assert lines[-1] == "2 problems found." and not any("To start Megatron-LM" in line for line in lines)


def test_json_has_the_steps_of_a_repair_and_whether_they_are_done(release, capsys):
    release.tracker.write_text("relea")
    steps = ["set latest_checkpointed_iteration.txt to 'release' (was 'relea')"]
    for words, done in ((["--dry-run"], False), ([], True)):
        assert main(["repair", str(release.root), "--json", *words]) == 0
        told = {"root": str(release.root), "steps": steps, "done": done}
        assert json.loads(capsys.readouterr().out) == told
    assert release.tracker.read_text() == "release"


def test_json_has_all_of_the_report(release, capsys):
    assert main(["check", str(release.root), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["loadable"] is True and report["problems"] == [] and "logit_check" not in report
    assert {file["name"]: file["is_verified"] for file in report["files"]}["common.pt"] is True
    release.tracker.write_text("relea")
    assert main(["check", str(release.root), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["loadable"] is False and len(report["problems"]) == 1


def test_directory_name_with_markup_is_printed_verbatim(release, capsys):
    release.root = release.root.rename(release.root.with_name("a[red]b"))
    assert main(["check", str(release.root)]) == 0
    assert capsys.readouterr().out.startswith(f"{release.root}: release\n")


def test_made_of_is_answered_by_the_record(release, capsys):
    assert main(["check", str(release.root), "--made-of", "org/name"]) == 0
    assert "note: org/name matches the recorded source model.\n" in capsys.readouterr().out
    assert main(["check", str(release.root), "--made-of", "org/other"]) == 1
    last = [line for line in capsys.readouterr().out.splitlines() if line.startswith("problem ")]
    assert last == [
        f"problem 1: {release.root} was imported from org/name, not from org/other. Pass the source model, or another "
        "checkpoint directory."
    ]


def test_made_of_is_skipped_when_release_is_missing(tmp_path, capsys):
    assert main(["check", str(tmp_path), "--made-of", "org/name"]) == 1
    shown = capsys.readouterr().out
    assert "note: Skipped --made-of org/name: fix the problems first.\n" in shown
    assert shown.endswith("1 problem found.\n")


def _cut_shard(release) -> None:
    os.truncate(release.folder / "__0_0.distcp", 100)


def _damaged_common_state(release) -> None:
    (release.folder / "common.pt").write_bytes(b"x")


def _no_folder(release) -> None:
    release.tracker.write_text("5")


@pytest.mark.parametrize("spoil", [_cut_shard, _damaged_common_state, _no_folder])
def test_deep_and_compute_are_skipped_when_release_is_corrupt(release, spoil, capsys):
    spoil(release)
    options = ["--deep", "org/name", "--compute", "org/name", "--json"]
    assert main(["check", str(release.root), *options]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["notes"][-2:] == [
        "Skipped --deep org/name: fix the problems first.",
        "Skipped --compute org/name: fix the problems first.",
    ]
    assert not any("failed" in problem for problem in report["problems"]) and "logit_check" not in report


def test_logits_are_skipped_for_a_release_with_problems(release, capsys):
    (release.root / TRAIN_STATE_TRACKER).unlink()
    assert main(["check", str(release.root), "--compute", "org/name", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["notes"] == ["Skipped --compute org/name: fix the problems first."]


def test_repair_error_is_single_line_on_stderr(tmp_path, capsys):
    assert main(["repair", str(tmp_path / "gone")]) == 1
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith(f"error: {tmp_path / 'gone'} does not exist. ")
    assert shown.err.count("\n") == 1


def test_repair_prints_steps_and_dry_run_changes_nothing(release, capsys):
    assert main(["repair", str(release.root)]) == 0
    assert capsys.readouterr().out == "nothing to do\n"
    release.tracker.write_text("0")
    (release.root / ".release-staging-x").mkdir()
    before = release.files()
    assert main(["repair", str(release.root), "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "set latest_checkpointed_iteration.txt to 'release' (was '0')",
        "remove .release-staging-x (left by an interrupted run)",
    ]
    assert release.files() == before


def test_tilde_is_expanded_to_home_directory(release, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(release.root.parent))
    assert main(["check", f"~/{release.root.name}"]) == 0
    assert capsys.readouterr().out.startswith(f"{release.root}: release\n")
    monkeypatch.chdir(release.root.parent)
    assert main(["repair", str(Path("~") / release.root.name), "--dry-run"]) == 0


@pytest.mark.parametrize(
    ("found", "status", "problems"),
    [
        ({"skipped": "too little memory"}, 3, 0),
        ({"difference": 1e-6, "notes": (MissingContent("args"),)}, 0, 0),
        ({"difference": 1e-3}, 1, 1),
        ({"difference": float("inf")}, 1, 1),
    ],
    ids=["skipped", "match", "differ", "NaN"],
)
def test_logit_check_is_in_the_status_the_text_and_json(release, monkeypatch, capsys, found, status, problems):
    from megatron.bridge.release.verify import logits

    comparison = LogitComparison("org/name", **found)
    monkeypatch.setattr(logits, "compare_logits", lambda root, hf_model, **_: comparison)
    command = ["check", str(release.root), "--compute", "org/name"]
    assert main(command) == status
    assert str(comparison) in capsys.readouterr().out
    assert main([*command, "--json"]) == status
    report = json.loads(capsys.readouterr().out)
    assert len(report["problems"]) == problems and report["notes"][1:] == list(map(str, comparison.notes))
    assert report["logit_check"]["matches"] is (status == 0)
    assert report["logit_check"]["skipped"] == comparison.skipped
    expected = None if status == 3 or found["difference"] > 1 else found["difference"]
    assert report["logit_check"]["difference"] == expected


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("not of\n this model"), "not of this model"),
        (OSError(5, "Input/output error"), "[Errno 5] Input/output error"),
        (KeyError("name"), "KeyError: 'name'"),
        (ValueError(), "ValueError: no message"),
    ],
)
def test_logit_check_error_becomes_single_line_problem(release, monkeypatch, capsys, error, message):
    from megatron.bridge.release.verify import logits

    def fail(root, hf_model, **_) -> None:
        print("progress")
        raise error

    monkeypatch.setattr(logits, "compare_logits", fail)
    assert main(["check", str(release.root), "--compute", "org/name", "--json"]) == 1
    shown = capsys.readouterr()
    assert (
        json.loads(shown.out)["problems"] == [f"The logit check with org/name failed: {message}"] and shown.err == ""
    )
