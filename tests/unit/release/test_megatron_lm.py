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

"""The entry point corrects the building of GPT models in a Megatron-LM of a few lines, and runs the script."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


_GPT_MODEL = """
class GPTModel:
    def __init__(self, config, vocab_size, rope_scaling=False, rope_scaling_factor=8.0):
        self.factor = rope_scaling_factor
"""

_ARGS = """
from types import SimpleNamespace
ARGS = SimpleNamespace(rope_scaling_factor=32.0)
def get_args():
    return ARGS
"""

_SCRIPT = """
import argparse, os, sys
{before}
from megatron.core.models.gpt import GPTModel
from megatron.training.global_vars import ARGS
class Subclass(GPTModel):
    pass
{teacher}
models = [GPTModel(None, 5, rope_scaling=True), Subclass(None, vocab_size=5, rope_scaling=True, rope_scaling_factor=8.0)]
print([model.factor for model in models], getattr(ARGS, "built_rope_scaling_factor", None))
_, words = argparse.ArgumentParser().parse_known_args()
print(GPTModel(None, 5).factor, __name__, words, os.path.realpath(sys.path[0]), "torch" in sys.modules)
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A checkout of Megatron-LM, as far as the entry point looks at it."""
    root = tmp_path / "Megatron-LM"
    for folder in ("core/models/gpt", "training"):
        (root / "megatron" / folder).mkdir(parents=True)
    for package in ("core", "core/models", "core/models/gpt", "training"):
        (root / "megatron" / package / "__init__.py").touch()
    (root / "megatron/core/models/gpt/__init__.py").write_text("from .gpt_model import GPTModel\n")
    (root / "megatron/core/models/gpt/gpt_model.py").write_text(_GPT_MODEL)
    (root / "megatron/training/global_vars.py").write_text(_ARGS)
    _write_script(root / "script.py")
    return root


def _write_script(path: Path, before: str = "", teacher: str = "") -> None:
    path.write_text(_SCRIPT.format(before=before, teacher=teacher))


def _run(cwd: Path, *words: str, **variables: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "megatron.bridge.release.megatron_lm", *words]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"} | variables
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600)


def _lines(run: subprocess.CompletedProcess) -> list[str]:
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def test_models_get_the_factor_of_the_arguments(repository):
    words = ["--lr", "1", "--entry-point=megatron.bridge.release.megatron_lm", "--mock-data"]
    built, ran = _lines(_run(repository, "script.py", *words))
    assert built == "[32.0, 32.0] 32.0"
    assert ran == f"8.0 __main__ ['--lr', '1', '--mock-data'] {repository.resolve()} False"


def test_core_of_the_script_is_corrected_in_any_directory(repository, tmp_path):
    """A script in a subdirectory adds the repository to the path itself, as Megatron-LM's tools do."""
    (repository / "tools").mkdir()
    _write_script(repository / "tools/run.py", "sys.path.insert(0, os.path.dirname(os.path.dirname(__file__)))")
    assert _lines(_run(tmp_path, str(repository / "tools/run.py")))[0] == "[32.0, 32.0] 32.0"


def test_early_import_of_the_model_is_an_error(repository, tmp_path):
    (tmp_path / "early").mkdir(exist_ok=True)
    (tmp_path / "early/sitecustomize.py").write_text(
        f"import sys\nsys.path.insert(0, {str(repository)!r})\nimport megatron.core.models.gpt.gpt_model\n"
    )
    run = _run(repository, "script.py", PYTHONPATH=str(tmp_path / "early"))
    assert run.returncode == 1 and run.stdout == ""
    assert "error: megatron.core.models.gpt.gpt_model was imported before" in run.stderr


def test_model_without_the_parameter_is_an_error(repository):
    model = repository / "megatron/core/models/gpt/gpt_model.py"
    model.write_text(_GPT_MODEL.replace("rope_scaling_factor", "factor"))
    run = _run(repository, "script.py")
    assert run.returncode == 1 and run.stdout == ""
    assert run.stderr.splitlines()[-1].startswith(
        "RuntimeError: megatron.bridge.release.megatron_lm does not support this"
    )


def test_teacher_of_unknown_factor_is_an_error(repository):
    _write_script(repository / "script.py", teacher="ARGS.export_kd_teacher_load = 'teacher'")
    run = _run(repository, "script.py")
    assert run.returncode == 1 and "does not support --export-kd-teacher-load" in run.stderr


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ([], "usage: torchrun"),
        (["gone.py"], "error: gone.py is not a file"),
        (["-m", "package.script"], "error: -m is not a file"),
    ],
)
def test_missing_script_is_an_error(repository, words, error):
    run = _run(repository, *words)
    assert run.returncode == 1 and run.stderr.startswith(error)


def test_torchrun_after_the_entry_point_is_an_error(repository):
    # As the console script of that name.
    (repository / "torchrun").write_text("import sys\nfrom torch.distributed.run import main\nsys.exit(main())\n")
    run = _run(repository, "torchrun", "--nproc-per-node", "1", "script.py")
    assert run.returncode == 1 and run.stdout == ""
    assert run.stderr.startswith("error: torchrun starts other processes") and run.stderr.count("\n") == 1


_LAUNCHER = "import subprocess, sys\nsubprocess.run([sys.executable, *sys.argv[1:]], check=True)\n"


def test_unsupported_launcher_rejects_entry_point_flag(repository):
    (repository / "launcher.py").write_text(_LAUNCHER)
    (repository / "plain.py").write_text("import argparse\nargparse.ArgumentParser().parse_args()\nprint('trained')")
    run = _run(repository, "launcher.py", "plain.py", "--entry-point=megatron.bridge.release.megatron_lm")
    assert run.returncode == 1 and run.stdout == ""
    assert "unrecognized arguments: --entry-point=megatron.bridge.release.megatron_lm" in run.stderr


_PARENT = """
import multiprocessing, sys
from megatron.core.models.gpt import GPTModel
def build(out):
    print(GPTModel(None, 5, rope_scaling=True).factor, file=out, flush=True)
def nested():
    child = multiprocessing.get_context("spawn").Process(target=build, args=(None,))
    child.start(), child.join(), sys.exit(child.exitcode)
if __name__ == "__main__":
    build(None)
    child = multiprocessing.get_context({method!r}).Process(target={target})
    child.start(), child.join(), sys.exit(child.exitcode)
"""


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
@pytest.mark.parametrize("target", ["build, args=(None,)", "nested"])
def test_processes_of_multiprocessing_are_corrected(repository, method, target):
    (repository / "parent.py").write_text(_PARENT.format(method=method, target=target))
    run = _run(repository, "parent.py", "--entry-point=megatron.bridge.release.megatron_lm")
    assert _lines(run) == ["32.0", "32.0"]


def test_child_process_rejects_entry_point_flag(repository):
    end = "import subprocess\nif 'child' not in os.environ:\n    os.environ['child'] = ''\n"
    end += "    sys.exit(subprocess.run([sys.executable, *sys.argv]).returncode)"
    (repository / "script.py").write_text(
        "import argparse, os, sys\nfrom megatron.core.models.gpt import GPTModel\n"
        f"argparse.ArgumentParser().parse_args()\nprint(GPTModel(None, 5, rope_scaling=True).factor, flush=True)\n{end}\n"
    )
    run = _run(repository, "script.py", "--entry-point=megatron.bridge.release.megatron_lm")
    assert run.returncode == 2 and run.stdout == "32.0\n"
    assert "unrecognized arguments: --entry-point=megatron.bridge.release.megatron_lm" in run.stderr


@pytest.mark.parametrize("end", ["", "sys.exit()", "sys.exit(0)"])
@pytest.mark.parametrize("start", ["import sys", "import sys; from megatron.core.models.gpt import GPTModel"])
def test_script_that_builds_no_model_is_an_error(repository, start, end):
    (repository / "other.py").write_text(f"{start}\nprint('ran')\n{end}\n")
    run = _run(repository, "other.py")
    assert run.returncode == 1 and run.stdout == "ran\n"
    assert run.stderr.startswith("error: other.py built no GPT model in this process")


@pytest.mark.parametrize(
    ("end", "status"), [("sys.exit()", 0), ("sys.exit(3)", 3), ("sys.exit('why')", 1), ("1/0", 1)]
)
def test_exit_status_is_that_of_the_script(repository, end, status):
    _write_script(repository / "script.py")
    (repository / "script.py").open("a").write(end)
    run = _run(repository, "script.py")
    assert run.returncode == status and run.stdout.startswith("[32.0, 32.0] 32.0")
    assert "built no GPT model" not in run.stderr


def test_script_may_set_the_arguments(repository):
    _write_script(
        repository / "script.py", "sys.argv = ['x', '--entry-point=megatron.bridge.release.megatron_lm', '1']"
    )
    assert _lines(_run(repository, "script.py"))[1].startswith("8.0 __main__ ['1']")
