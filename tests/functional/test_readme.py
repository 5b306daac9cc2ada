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

"""Every command of the README runs."""

import ast
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hf_logits import hf_logits, load_hf, wrong_logits
from hf_tensors import assert_same_tensors
from megatron_lm import load, logits, megatron_lm
from roots import tree

from megatron.bridge_release.layout import TRACKER


REPOSITORY = Path(__file__).parents[2]
BLOCKS = re.findall(r"```(python|bash)\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.S)
PYTHON = "\n".join(code for language, code in BLOCKS if language == "python")
COMMANDS = [
    shlex.split(command, comments=True)
    for language, code in BLOCKS
    if language == "bash"
    for command in code.replace("\\\n", " ").splitlines()
]
# What others run: CI runs `make test`, whose first step is an installation; the build's tests the others.
ELSEWHERE = (
    ["make", "test"],
    ["make", "matrix"],
    ["make", "large"],
    # On a small upstream, by tests/unit/patches.
    ["make", "pr", "UPSTREAM=path/to/Megatron-Bridge"],
    ["pip", "install", "."],
    ["pip", "install", "--no-deps", "."],
)


def _command(*words: str) -> list[str]:
    """The one command of the README with these words."""
    (command,) = [command for command in COMMANDS if set(words) <= set(command)]
    return command


def _run(command: list[str], **names: Path) -> subprocess.CompletedProcess:
    """Run a command, with the README's capital names replaced, by this environment's Python."""
    programs = {
        "python": [sys.executable],
        "torchrun": [sys.executable, "-m", "torch.distributed.run", "--standalone"],
    }
    words = [str(names.get(word, word)) for word in command]
    run = subprocess.run(programs[words[0]] + words[1:], cwd=REPOSITORY, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return run


def test_the_python_code_imports_a_release_and_exports_it(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(PYTHON.replace("meta-llama/Llama-3.2-1B", str(tiny.hf)), {})
    assert tree(tmp_path / "ckpt") == tree(tiny.root)
    assert_same_tensors(tmp_path / "hf", tiny.hf)


def test_the_example_imports_a_model(tiny, tmp_path):
    _run(_command("python", "examples/import_release.py"), HF_MODEL=tiny.hf, OUT=tmp_path / "out")
    assert tree(tmp_path / "out") == tree(tiny.root)


def test_the_example_imports_a_model_on_two_ranks(tiny, tmp_path):
    _run(_command("torchrun", "examples/import_release.py"), HF_MODEL=tiny.hf, OUT=tmp_path / "out")
    names = tree(tmp_path / "out")
    assert "release/__1_0.distcp" in names and TRACKER in names
    assert (tmp_path / "out" / TRACKER).read_text() == "release"


def test_check_repair_and_revert_run(tiny, tmp_path):
    root = Path(shutil.copytree(tiny.root, tmp_path / "root"))
    release, names = tree(root), {"OUT": root, "HF_MODEL": tiny.hf}
    assert "It loads." in _run(_command("check", "OUT", "--deep"), **names).stdout
    assert "It loads." in _run(_command("check", "OUT", "--compute"), **names).stdout
    assert "It loads." in _run(["python", "-m", "megatron.bridge_release", "check", "OUT"], **names).stdout
    _run(_command("revert"), **names)
    assert "iter_0000000/run_config.yaml" in tree(root)
    assert "'0' becomes 'release'" in _run(_command("repair", "--dry-run"), **names).stdout
    _run(["python", "-m", "megatron.bridge_release", "repair", "OUT"], **names)
    assert tree(root) == release


LAUNCHES = [command for command in COMMANDS if "pretrain_gpt.py" in command]


@pytest.mark.parametrize("imported", ["smollm2"], indirect=True)
@pytest.mark.parametrize("launch", LAUNCHES, ids=lambda launch: launch[4])
def test_megatron_lms_command_line_gives_the_models_logits(imported, launch):
    words = " ".join(launch[launch.index("pretrain_gpt.py") + 1 :]).replace("OUT", str(imported.root))
    shell = subprocess.run(["bash", "-c", f"printf '%s\\n' {words}"], capture_output=True, text=True, check=True)
    flags = [flag for flag in shell.stdout.splitlines() if flag != "--bf16"]
    assert len(flags) < len(shell.stdout.splitlines()), "a release of a bfloat16 model says so"
    # Megatron Core's own modules do not ask for Transformer Engine's entries.
    flags = [flag.replace("raise_all", "raise_unexpected") for flag in flags]
    with megatron_lm(flags) as args:
        assert (args.tokenizer_type, args.tokenizer_model) == (
            "HuggingFaceTokenizer",
            str(imported.root / "release/tokenizer"),
        )
        model, _ = load(args)
        tokens = torch.arange(100, 140)[None]
        assert wrong_logits(logits(model, tokens), hf_logits(load_hf(imported.hf), tokens)) == []


def test_the_queues_commands_run(upstream_wheel, tmp_path):
    status = _run(_command("patches", "status"), PATH=upstream_wheel)
    assert " applies" in status.stdout and "no match" not in status.stdout
    _run(_command("patches", "apply"), PATH=upstream_wheel, DIR=tmp_path / "tree")
    assert (tmp_path / "tree/megatron/bridge/utils/host.py").exists()


def test_the_demo_agrees(tmp_path):
    """`make demo` without the installation, which is this environment's."""
    _command("make", "demo")
    run = subprocess.run(
        [sys.executable, "-W", "ignore", REPOSITORY / "examples/demo.py", "--work", tmp_path],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr
    assert "182 bit-equal" in run.stdout and "Paris" in run.stdout


def test_no_command_of_the_readme_is_left_out():
    # What this file names, whichever of its tests run in this process.
    calls = [
        [ast.literal_eval(word) for word in node.args]
        for node in ast.walk(ast.parse(Path(__file__).read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "_command"
        if all(isinstance(word, ast.Constant) for word in node.args)
    ]
    covered = [_command(*words) for words in calls] + LAUNCHES
    covered += [["python", "-m", "megatron.bridge_release", name, "OUT"] for name in ("check", "repair")]
    assert [command for command in COMMANDS if command not in covered and command not in ELSEWHERE] == []
