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

"""The fork registers the bridges that upstream registers, all of them."""

import ast
import subprocess
import sys
from pathlib import Path

from faults import SEED

from megatron.bridge import AutoBridge
from patches.upstream import PACKAGE, open_upstream


def _registered(package: Path) -> set[str]:
    """Read which architectures the modules of a package register."""
    found = set()
    for path in (package / "models").rglob("*.py"):
        module = ast.parse(path.read_text())
        constants = {ast.unparse(node.targets[0]): node.value for node in module.body if isinstance(node, ast.Assign)}
        for node in ast.walk(module):
            for decorator in getattr(node, "decorator_list", []):
                if getattr(getattr(decorator, "func", None), "attr", "") == "register_bridge":
                    sources = [word.value for word in decorator.keywords if word.arg == "source"]
                    # A class, as it was imported; its name, or a constant that holds it.
                    names = [ast.unparse(constants.get(ast.unparse(source), source)) for source in sources]
                    found |= {name.strip("\"'").rpartition(".")[2] for name in names}
    return found


def test_fork_registers_every_model_of_upstream(upstream_wheel, tmp_path):
    theirs = _registered(open_upstream(upstream_wheel, tmp_path, pinned=True).root / PACKAGE)
    assert len(theirs) > 40 and theirs <= set(AutoBridge.list_supported_models())


# The package, which imports its attributes on first access, and a module of each part of it.
PACKAGE_NAME = "megatron.bridge"
MODULES = (
    "megatron.bridge.data.loaders",
    "megatron.bridge.diffusion.conversion.nemotron_labs_diffusion",
    "megatron.bridge.models.conversion.auto_bridge",
    "megatron.bridge.peft.lora",
    "megatron.bridge.training.checkpointing",
    "megatron.bridge.training.config",
    "megatron.bridge.utils.common_utils",
)
IMPORT_EACH = """
import logging, os, sys, traceback

logging.disable()
import megatron.core.distributed, megatron.core.optimizer, torch, transformers

for name in sys.argv[1:]:
    child = os.fork()
    if not child:
        status = 1
        try:
            __import__(name)
            AutoBridge = sys.modules["megatron.bridge"].AutoBridge
            assert sys.modules["megatron.bridge"].models is sys.modules["megatron.bridge.models"]
            print(name, *sorted(AutoBridge.list_supported_models()), flush=True)
            status = 0
        except ImportError:
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0, name
"""


def test_all_models_are_registered_by_any_first_import():
    tried = (PACKAGE_NAME, *(MODULES if SEED == "all" else [MODULES[int(SEED) % len(MODULES)]]))
    command = [sys.executable, "-W", "ignore", "-c", IMPORT_EACH, *tried]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith(PACKAGE_NAME)]
    assert lines == [[name, *sorted(AutoBridge.list_supported_models())] for name in tried]
