# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""megatron.bridge.release starts without torch, and its folders import only from those below them."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest


RELEASE = Path(__file__).resolve().parents[3] / "src/megatron/bridge/release"
NAME = "megatron.bridge.release"
# The lowest first; "" contains the modules of the package itself.
FOLDERS = ("compat", "", "host", "source", "megatron_args", "validation", "write", "export", "verify", "repair", "cli")


def _folder(parts: tuple[str, ...]) -> int:
    return FOLDERS.index(parts[0] if len(parts) > 1 else "")


def test_package_order_lists_every_subpackage():
    assert sorted(path.parent.name for path in RELEASE.glob("*/__init__.py")) == sorted(set(FOLDERS) - {""})


# The stand-ins for CUDA packages are packages of their own.
MODULES = sorted(path for path in RELEASE.rglob("*.py") if "packages" not in path.relative_to(RELEASE).parts)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(RELEASE)))
def test_module_imports_no_higher_layer(path):
    if path.name == "__main__.py":
        return
    own = _folder(path.relative_to(RELEASE).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        assert not isinstance(node, ast.Import) or not any(name.name.startswith(NAME) for name in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            if node.module.startswith(f"{NAME}."):
                above = [name for name in FOLDERS[own + 1 :] if f"{node.module}.".startswith(f"{NAME}.{name}.")]
                assert not above, node.module
            assert node.module != NAME
            # The lowest folder imports no module of the package.
            assert own or not node.module.startswith(f"{NAME}.")


@pytest.mark.parametrize("command", [["--help"], ["check", "."], ["launch", "."]], ids=" ".join)
def test_command_starts_without_torch(command, tmp_path):
    code = (
        f"import sys\nfrom {NAME}.__main__ import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print({'torch', 'transformers', 'megatron.core', 'megatron.bridge.models'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.splitlines()[-1] == "set()"


def test_package_import_loads_no_torch():
    code = (
        "import sys, megatron.bridge\n"
        "from megatron.bridge import release\n"
        "try:\n    megatron.bridge.nothing\nexcept AttributeError as error:\n    print(error)\n"
        "print('torch' in sys.modules, 'AutoBridge' in dir(megatron.bridge), release.__name__)"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "module 'megatron.bridge' has no attribute 'nothing'",
        "False True megatron.bridge.release",
    ]
