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

"""Every command of the README and of docs/ runs, and the picture of the demo is what it prints."""

import html
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from faults import SEED
from hf_logits import hf_logits, load_hf, wrong_logits
from hf_tensors import assert_same_tensors
from megatron_lm import load, logits, megatron_lm
from roots import tree
from safetensors.torch import load_file
from training_runs import CPU_FLAGS
from workers import SUPPORT, TIMEOUT, WITHOUT_CUDA, programs

from megatron.bridge.release.layout import TRACKER


REPOSITORY = Path(__file__).parents[2]
PAGES = {path.name: path.read_text() for path in (REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md"))}


def _code(page: str, language: str) -> str:
    """The code blocks of a page, as one script."""
    return "\n".join(re.findall(rf"```{language}\n(.*?)```", PAGES[page], re.S))


def _commands(page: str) -> list[str]:
    """The shell commands of a page, each in one line and without its comment."""
    lines = _code(page, "bash").replace("\\\n", " ").splitlines()
    return [" ".join(line.partition(" # ")[0].split()) for line in lines if line.strip()]


COMMANDS = {page: _commands(page) for page in PAGES}

# Commands that another test runs, or that need what a test has not: the network, a GPU, hours.
ELSEWHERE = {
    "pip install .": "tests/unit/test_build.py",
    "pip install --no-deps .": "test_life.py, the container",
    "pip install '.[demo]'": "the Makefile",
    "MEGATRON_BRIDGE_UPSTREAM=megatron_bridge-0.6.2-py3-none-any.whl pip install --no-build-isolation --no-deps .": (
        "tests/unit/test_build.py"
    ),
    "python examples/smollm2.py smollm2": "the fixture smollm2",
    "git clone https://github.com/NVIDIA/Megatron-LM": "",
    ". .venv/bin/activate": "the Makefile",
    "MEGATRON_LM=path/to/Megatron-LM sbatch --nodes 4 examples/sft.sbatch CKPT chats.jsonl --tensor-model-parallel-size 2": (
        "test_slurm.py"
    ),
    "sbatch --nodes 8 examples/import.sbatch HF_MODEL CKPT": "test_slurm.py",
    **dict.fromkeys(
        (
            "export PET_NNODES=4 PET_NPROC_PER_NODE=8 PET_RDZV_BACKEND=c10d PET_RDZV_ENDPOINT=HOST:29500 PET_RDZV_ID=sft",
            "MEGATRON_LM=path/to/Megatron-LM bash examples/sft.sh CKPT chats.jsonl --tensor-model-parallel-size 2",
        ),
        "test_slurm.py, whose job exports the same",
    ),
    "make demo": "below, without the installation",
    **dict.fromkeys(
        (
            "make lint",
            "make test",
            "make test-all",
            "make docs",
            "make matrix",
            "make bench",
            "make large",
            "make gpu",
        ),
        "",
    ),
    "make real-megatron-lm MEGATRON_LM=path/to/Megatron-LM": "test_pretrain.py, with the wheel",
    "make pr UPSTREAM=path/to/Megatron-Bridge": "tests/unit/patches, on a small upstream",
    "make upstream-tests UPSTREAM=path/to/Megatron-Bridge": "tests/unit/patches, on a small upstream",
}


def _shell(script: str, folder: Path, path: str | None = None, **variables: str) -> str:
    """Run commands as a user's shell does, with this environment's programs first on the path."""
    path = f"{path or programs()}:{os.environ['PATH']}"
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=os.environ | WITHOUT_CUDA | {"PATH": path} | variables,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return run.stdout


def _filled(command: str, **names: Path) -> str:
    """A command with its capital names replaced."""
    return re.sub("|".join(names), lambda name: shlex.quote(str(names[name[0]])), command)


def _find(page: str, *words: str) -> list[str]:
    """The commands of a page that have these words."""
    found = [command for command in COMMANDS[page] if all(word in command for word in words)]
    assert found, words
    return found


IMPORTS = _find("README.md", " import ")
CHECKS = _find("moving.md", "megatron-bridge-release")
LAUNCHES = [
    command
    for page in ("README.md", "launching.md")
    for command in COMMANDS[page]
    if command.startswith(("torchrun --nproc-per-node 1 pretrain_gpt.py", "PET_NPROC_PER_NODE"))
]
PRINTED = _find("launching.md", "megatron-bridge-release launch")
EXPORTS = _find("README.md", " export ")
PATCHES = _find("maintaining.md", "python -m patches")
QUICK_START = [command for command in COMMANDS["quick-start.md"] if command not in ELSEWHERE]


@pytest.mark.parametrize("command", IMPORTS)
def test_readme_import_command_writes_release(tiny, tmp_path, command):
    command = command.replace("meta-llama/Llama-3.2-1B", "HF_MODEL").replace(" ckpt", " CKPT")
    # With every test, torchrun starts everything anew.
    path = str(Path(sys.executable).parent) if "torchrun" in command and SEED == "all" else None
    command = command.replace("torchrun", "torchrun --standalone")
    _shell(_filled(command, HF_MODEL=tiny.hf, CKPT=tmp_path / "out"), tmp_path, path)
    ranks = {name.partition("_0.distcp")[0] for name in tree(tmp_path / "out") if name.endswith("_0.distcp")}
    assert (
        ranks == {"release/__0", "release/__1"} if "torchrun" in command else tree(tmp_path / "out") == tree(tiny.root)
    )
    assert (tmp_path / "out" / TRACKER).read_text() == "release"


def test_readme_python_code_imports_release(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(_code("README.md", "python").replace("meta-llama/Llama-3.2-1B", str(tiny.hf)), {})
    assert tree(tmp_path / "ckpt") == tree(tiny.root)


def test_readme_export_command_matches_source_model(tiny, tmp_path):
    (command,) = EXPORTS
    names = {"CKPT": tiny.root, "HF_MODEL": tiny.hf, "OUT": tmp_path / "my-model"}
    assert "Exported release to" in _shell(_filled(command, **names), tmp_path)
    assert_same_tensors(tmp_path / "my-model", tiny.hf)


@pytest.mark.parametrize("imported", ["smollm2"], indirect=True)
@pytest.mark.parametrize("launch", LAUNCHES, ids=range(len(LAUNCHES)))
def test_docs_launch_commands_match_source_model_logits(imported, launch, tmp_path):
    words = re.sub(r"PET_\w+=\S+ |torchrun --nproc-per-node 1 ", "", launch)
    # It is not to train here.
    words = words.replace("--save CKPT", "")
    printed = _shell(f"printf '%s\\n' {_filled(words, CKPT=imported.root)}", tmp_path).splitlines()
    flags = [flag for flag in printed[printed.index("pretrain_gpt.py") + 1 :] if flag != "--bf16"]
    assert "--bf16" in printed, "a release of a bfloat16 model says so"
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


@pytest.mark.parametrize("command", PRINTED)
def test_launch_command_prints_flags_and_tokenizer_path(tiny, tmp_path, command):
    printed = _shell(_filled(command, CKPT=tiny.root), tmp_path)
    assert "--num-layers" in printed and f"{tiny.root}/release/tokenizer" in printed


def test_upstreams_import_is_repaired_and_checked(default, tiny, tmp_path):
    root = Path(shutil.copytree(default, tmp_path / "root"))
    for command in CHECKS:
        _shell(_filled(command, CKPT=root, HF_MODEL=tiny.hf), tmp_path)
        if command.endswith("repair CKPT"):
            assert (root / TRACKER).read_text() == "release" and f"release/{'common.pt'}" in tree(root)
    assert any(command.endswith("--compute HF_MODEL") for command in CHECKS)


def test_quick_start_script_trains_and_exports(smollm2, tmp_path):
    """Megatron-LM's script is stood for by the one that trains without CUDA, and the sequences are short."""
    (tmp_path / "smollm2").symlink_to(smollm2)
    (tmp_path / "Megatron-LM").symlink_to(SUPPORT)
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
    python = [
        f"python - <<'END'\n{code}END" for code in re.findall(r"```python\n(.*?)```", PAGES["quick-start.md"], re.S)
    ]
    assert len(python) == 2 and "import_ckpt" in python[0] and "export_ckpt" in python[1]
    flags = " ".join(("--exit-interval 3 --seq-length 32 --global-batch-size 1", *CPU_FLAGS))
    script = "\n".join(QUICK_START).replace("--exit-interval 3", flags)
    assert script.count("--seq-length 32") == 1
    said = _shell(script, tmp_path, PYTHONPATH=f"{SUPPORT / 'cpu_site'}:{SUPPORT}", MEGATRON_LM_ON_CPU="1")
    assert "Exported iter_0000003 to" in said
    before, after = (load_file(folder / "model.safetensors") for folder in (smollm2, tmp_path / "trained"))
    assert before.keys() == after.keys()
    assert any(not torch.equal(tensor, after[name].to(tensor.dtype)) for name, tensor in before.items())


@pytest.mark.parametrize("imported", ["smollm2"], indirect=True)
def test_quick_start_python_code_imports_and_exports(imported, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "smollm2").symlink_to(imported.hf)
    exec(_code("quick-start.md", "python"), {})
    assert tree(tmp_path / "ckpt") == tree(imported.root)
    assert_same_tensors(tmp_path / "trained", imported.hf)


@pytest.mark.exhaustive
@pytest.mark.parametrize("command", PATCHES)
def test_patch_series_commands_run(upstream_wheel, tmp_path, command):
    said = _shell(f"cd {REPOSITORY} && {_filled(command, PATH=upstream_wheel, DIR=tmp_path / 'tree')}", tmp_path)
    if " status " in command:
        assert " applies" in said and "no match" not in said
    else:
        assert (tmp_path / "tree/megatron/bridge/utils/host_compat.py").exists()


def test_tests_cover_every_command_of_docs():
    covered = {*IMPORTS, *CHECKS, *LAUNCHES, *PRINTED, *EXPORTS, *PATCHES, *QUICK_START, *ELSEWHERE}
    assert [command for commands in COMMANDS.values() for command in commands if command not in covered] == []


def _said(picture: str) -> list[str]:
    """What a picture of a terminal says, with every number and ID as N."""
    text = html.unescape(" ".join(re.findall(r"<text[^>]*>(.*?)</text>", picture)))
    text = re.sub(r"_[0-9a-f]{8}\.distcp", "_ID.distcp", text)
    return re.sub(r"\d[\d,.]*(e[-+]\d+)?", "N", text).split()


def test_demo_output_matches_pictures_in_docs(tmp_path):
    """`make demo` without the installation, which is this environment's, in a process as a user starts it."""
    command = f"WITHOUT_STAND_INS=1 python -W ignore {REPOSITORY}/examples/demo.py --work {tmp_path}/work --pictures {tmp_path}"
    said = _shell(command, tmp_path)
    assert "182 bit-equal" in said and "Paris" in said
    for name in ("demo.svg", "demo-output.svg"):
        assert _said((tmp_path / name).read_text()) == _said((REPOSITORY / "docs" / name).read_text()), "run make docs"
