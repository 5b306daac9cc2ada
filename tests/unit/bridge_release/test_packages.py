# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""megatron.bridge is upstream's to package, alone; megatron.bridge.release starts without its import."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest


MEGATRON = Path(__file__).resolve().parents[3] / "src" / "megatron"
# What both packages need stands in the one, and is linked into the other.
SHARED = (
    "args_comparison",
    "args_table",
    "commands",
    "destination",
    "export_folder",
    "exported_config",
    "headers",
    "hub",
    "integrity",
    "layout",
    "model_files",
    "model_flags",
    "model_folder",
    "names",
    "option_errors",
    "plain_files",
    "root",
    "rope_factor",
    "source",
    "source_content",
    "source_model",
)


def test_megatron_bridge_imports_nothing_of_megatron_bridge_release():
    paths = [*(MEGATRON / "bridge").rglob("*.py")]
    assert MEGATRON / "bridge/utils/host.py" in paths
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.startswith("megatron.bridge.release") for name in names), path


@pytest.mark.parametrize("name", SHARED)
def test_what_both_need_is_the_same_in_the_wheel(name):
    spec = importlib.util.find_spec("megatron")
    (installed,) = [path for path in map(Path, spec.submodule_search_locations) if (path / "bridge_release").is_dir()]
    copies = (
        installed / "bridge_release" / f"{name}.py",
        installed / "bridge" / "training" / "release" / f"{name}.py",
    )
    assert copies[0].read_text() == copies[1].read_text()


def test_the_commands_start_without_megatron_bridge_and_torch():
    code = "import sys, megatron.bridge.release.__main__; print({'torch', 'megatron.bridge'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
