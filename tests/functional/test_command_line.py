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

"""The command line on real models: what it prints, and that what it makes is the model."""

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import torch
from expected_errors import Containing, warns
from hf_tensors import assert_same_tensors
from odd_models import change_config
from roots import shard, tree
from safetensors.torch import load_file
from transformers import AutoTokenizer
from workers import TIMEOUT, WITHOUT_CUDA, python

from megatron.bridge.release.__main__ import main
from megatron.bridge.release.cli import export, importing
from megatron.bridge.release.errors import shell_option
from megatron.bridge.release.export.errors import UnreadableCheckpointError
from megatron.bridge.release.layout import TRACKER
from megatron.bridge.release.validation.errors import CustomConfigCodeError
from megatron.bridge.release.validation.model_errors import CastWarning, UnknownFieldsWarning
from megatron.bridge.release.verify.check import check
from megatron.bridge.release.verify.findings import FileProblem
from megatron.bridge.release.verify.report import Report


def _run(*words: object, **environment: str) -> subprocess.CompletedProcess:
    """Run the command in a process of its own."""
    return subprocess.run(
        [python(), "-m", "megatron.bridge.release", *map(str, words)],
        env=os.environ | WITHOUT_CUDA | environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )


def test_import_prints_only_steps_and_report(tiny, tmp_path):
    root = tmp_path / "root"
    run = _run("import", tiny.hf, root)
    assert run.returncode == 0, run.stderr
    begins, ends = run.stderr.splitlines()
    assert begins == f"Importing {tiny.hf} into {root}"
    assert re.fullmatch(r"Wrote \d+kB in \d+ s\. Verifying \.\.\.", ends)
    assert tree(root) == tree(tiny.root)
    lines = run.stdout.splitlines()
    assert lines[0] == f"{root}/" and any(line.startswith("├── latest_checkpointed_iteration.txt ") for line in lines)
    assert any("upstream's" in line and " no " in line for line in lines)
    assert any(line.startswith(f"note: Logits match {tiny.hf}: ") for line in lines)
    assert lines[-1].startswith("  torchrun pretrain_gpt.py --num-layers=")
    assert f" --load {root} --exit-on-missing-checkpoint " in lines[-1]


def test_import_logs_to_stderr_and_prints_json_to_stdout(tiny, tmp_path):
    run = _run("import", tiny.hf, tmp_path / "root", "--json", "--verbose", "--no-logit-check")
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout)
    assert report["loadable"] is True and report["layout"] == "release" and "logit_check" not in report
    assert "Megatron" in run.stderr and len(run.stderr.splitlines()) > 5


def test_import_lists_no_foreign_files(tiny, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "latest-run").symlink_to("nowhere")
    run = _run("import", tiny.hf, root, "--no-logit-check")
    assert run.returncode == 0, run.stderr
    assert "release/" in run.stdout and "latest-run" not in run.stdout


def test_json_contains_the_logit_check(tiny, tmp_path, capfd):
    assert main(["import", str(tiny.hf), str(tmp_path / "root"), "--json"]) == 0
    found = json.loads(capfd.readouterr().out)["logit_check"]
    assert found["matches"] is True and found["layers"] == found["total_layers"] > 0


def test_interrupted_logit_check_keeps_the_release(tiny, tmp_path, capfd, monkeypatch):
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importing, "run_logit_check", interrupted)
    root = tmp_path / "root"
    assert main(["import", str(tiny.hf), str(root)]) == 130
    said = f"error: interrupted during the verification. The release in {root} is complete; to verify it, run: python -m megatron"
    assert capfd.readouterr().err.splitlines()[-1].startswith(said)
    assert (root / TRACKER).read_text() == "release"


def test_whoever_reads_only_the_beginning_gets_no_traceback(tiny):
    command = f"{python()} -m megatron.bridge.release check {tiny.root} | true; echo ${{PIPESTATUS[0]}}"
    run = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=TIMEOUT)
    assert (run.stdout, run.stderr) == ("141\n", "")


def test_config_with_custom_code_is_imported_on_request(hf, tmp_path, capfd):
    (hf / "own.py").write_text(
        "import transformers\n\n\nclass Own(transformers.LlamaConfig):\n    model_type = 'own'\n"
    )
    change_config(hf, model_type="own", auto_map={"AutoConfig": "own.Own"})
    root = tmp_path / "root"
    assert main(["import", str(hf), str(root)]) == 1
    assert CustomConfigCodeError(hf, "own.Own").text(shell_option) in capfd.readouterr().err and not root.exists()
    options = ["--trust-remote-code", "--allow-config-fields", "model_type"]
    run = _run("import", hf, root, *options, HF_MODULES_CACHE=str(tmp_path / "code"))
    assert run.returncode == 0, run.stderr
    assert ": it needs trust_remote_code, which the logit check does not run.\n" in run.stdout


def test_shell_warning_is_single_line_without_file_name(hf, tmp_path, capfd):
    change_config(hf, tempering=3)
    assert main(["import", str(hf), str(tmp_path / "root"), "--no-logit-check"]) == 0
    (warning,) = [line for line in capfd.readouterr().err.splitlines() if "tempering" in line]
    assert warning == f"warning: {UnknownFieldsWarning(str(hf), ('tempering (3)',)).text(shell_option)}"


def test_import_ckpt_emits_release_warning_for_unknown_field(hf, tmp_path):
    from megatron.bridge import AutoBridge

    change_config(hf, tempering=3)
    with warns(UnknownFieldsWarning(str(hf), (Containing("tempering", "3"),))):
        AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)


def test_config_error_shows_shell_option_and_writes_nothing(hf, tmp_path, capfd):
    change_config(hf, rope_parameters={"rope_type": "default", "rope_theta": 10000.5})
    words = ["import", str(hf), str(tmp_path / "root")]
    assert main(words) == 1
    shown = capfd.readouterr()
    assert (
        shown.out == "" and shown.err.splitlines()[-1].startswith("error: ") and "--allow-config-fields" in shown.err
    )
    assert not (tmp_path / "root").exists()


def test_dtype_option_sets_dtype_of_release_and_flags(tiny, tmp_path, capfd):
    root, weights = tmp_path / "root", load_file(tiny.hf / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
    assert main(["import", str(tiny.hf), str(root), "--dtype", "float16"]) == 0
    expected = CastWarning({"bfloat16": len(weights)}, len(weights), "float16")
    assert expected.text(shell_option) in capfd.readouterr().err
    assert "--fp16" in (root / "release/megatron_lm_args.txt").read_text().split()
    assert main(["export", str(root), str(tiny.hf), str(tmp_path / "hf")]) == 0
    exported = load_file(tmp_path / "hf/model.safetensors")
    assert exported.keys() == weights.keys()
    assert all(torch.equal(exported[name].half(), tensor.half()) for name, tensor in weights.items())


def test_export_matches_source_model_and_prints_checkpoint(tiny, tmp_path, capfd):
    out = tmp_path / "new/hf"
    assert main(["export", str(tiny.root), str(tiny.hf), str(out)]) == 0
    shown = capfd.readouterr()
    assert shown.err == f"Exporting {tiny.root}/release to {out}\n"
    assert shown.out.startswith(f"Exported release to {out}: ") and len(shown.out.splitlines()) == 1
    assert_same_tensors(out, tiny.hf)
    assert {file.stat().st_mode & 0o777 for file in out.iterdir()} == {
        (tiny.hf / "config.json").stat().st_mode & 0o777
    }
    assert (
        AutoTokenizer.from_pretrained(out)("a b").input_ids == AutoTokenizer.from_pretrained(tiny.hf)("a b").input_ids
    )
    assert [path.name for path in out.parent.iterdir()] == ["hf"]


def test_export_writes_into_symlink_target(tiny, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to("disk")
    assert main(["export", str(tiny.root), str(tiny.hf), str(tmp_path / "out")]) == 0
    assert (tmp_path / "out").is_symlink()
    assert_same_tensors(tmp_path / "disk", tiny.hf)


def test_export_removes_leftovers_of_killed_export(tiny, tmp_path):
    out = tmp_path / "out"
    kill = (
        "import os, signal, sys\n"
        "from megatron.bridge.release.__main__ import main\n"
        "from megatron.bridge.release.export.publish import FolderPublication\n"
        "FolderPublication.commit = lambda self: os.kill(os.getpid(), getattr(signal, sys.argv[1]))\n"
        "main(sys.argv[2:])"
    )
    words = ["export", str(tiny.root), str(tiny.hf), str(out)]
    command = [python(), "-c", kill]
    run = subprocess.run([*command, "SIGTERM", *words], env=os.environ | WITHOUT_CUDA, capture_output=True, text=True)
    assert run.stderr.splitlines()[-1] == (
        f"error: terminated. Nothing was published; {out} contains nothing of it. Run the export again."
    )
    assert run.returncode == 1 and not out.exists()
    run = subprocess.run([*command, "SIGKILL", *words], env=os.environ | WITHOUT_CUDA, capture_output=True, text=True)
    assert run.returncode == -signal.SIGKILL
    assert [path.name for path in out.iterdir() if path.is_dir()][0].startswith(".release-staging-")
    assert not (out / "config.json").exists()
    assert main(words) == 0
    assert_same_tensors(out, tiny.hf)
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]


def test_export_of_a_damaged_release_is_refused(tiny, tmp_path, capfd):
    root = Path(shutil.copytree(tiny.root, tmp_path / "root"))
    damaged = shard(root / "release")
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    assert main(["export", str(root), str(tiny.hf), str(tmp_path / "hf")]) == 1
    shown = capfd.readouterr()
    problem = FileProblem(damaged, "corrupt", "checksum mismatch", repair=None)
    assert (shown.out, shown.err) == ("", f"error: {problem.text(shell_option)}\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["root"]


def test_export_prints_single_error_when_shard_is_truncated(tiny, tmp_path, capfd, monkeypatch):
    root = Path(shutil.copytree(tiny.root, tmp_path / "root"))

    def cut(path: Path, release: Path) -> Report:
        report = check(path, release)
        os.truncate(shard(root / "release"), 100)
        return report

    monkeypatch.setattr(export, "check", cut)
    assert main(["export", str(root), str(tiny.hf), str(tmp_path / "hf")]) == 1
    shown = capfd.readouterr()
    error = shown.err.splitlines()[-1]
    before, _, after = UnreadableCheckpointError(root, "REASON").text(shell_option).partition("REASON")
    assert error.startswith(f"error: {before}") and error.endswith(after)
    assert shown.out == "" and len(shown.err.splitlines()) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["root"]


def test_overwrite_replaces_the_release(tiny, other, tmp_path, capfd):
    root = Path(shutil.copytree(tiny.root, tmp_path / "root"))
    assert main(["import", str(other.hf), str(root), "--overwrite", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["source_model"] == str(other.hf)
    assert tree(root) == tree(other.root) and (root / TRACKER).read_text() == "release"


def test_launch_prints_command_of_check_report(tiny, capfd):
    assert main(["launch", str(tiny.root)]) == 0
    command = capfd.readouterr().out.strip()
    assert main(["check", str(tiny.root)]) == 0
    assert f"  {command}" in capfd.readouterr().out.splitlines()
