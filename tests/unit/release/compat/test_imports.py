# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Only megatron.bridge.release.compat imports private and unstable names of the libraries."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest


SRC = Path(__file__).resolve().parents[4] / "src"
COMPAT = SRC / "megatron/bridge/release/compat"
LIBRARIES = ("torch", "megatron.core", "megatron.training", "transformers", "huggingface_hub")
UNSTABLE = (
    *("huggingface_hub.utils", "megatron.core.dist_checkpointing.dict_utils"),
    *("megatron.core.dist_checkpointing.strategies", "megatron.core.msc_utils", "megatron.training.argument_utils"),
    *(
        "megatron.training.arguments",
        "megatron.training.models",
        "torch.distributed.checkpoint.api.CheckpointException",
    ),
    *("torch.serialization", "transformers.models", "transformers.quantizers", "transformers.utils.hub"),
)
PRIVATE_ATTRIBUTES = {"_version", "_cdata", "_schema", "_modules", "_parameters", "_buffers", "_model_bridge"} | {
    *("_validate_config", "_share_embeddings_and_output_weights", "_is_adapter_param_name"),
}
MODULES = [path for path in sorted(SRC.rglob("*.py")) if not path.is_relative_to(COMPAT)]


def _private_imports(tree: ast.AST) -> list[str]:
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return [
        name
        for name in names
        if any(f"{name}.".startswith(f"{module}.") for module in UNSTABLE)
        or (
            any(f"{name}.".startswith(f"{library}.") for library in LIBRARIES)
            and any(part.startswith("_") for part in name.split("."))
        )
    ]


def test_private_import_is_found():
    code = "from torch._x import a\nfrom torch.y import _b\nimport megatron.core._c\nfrom torch import d, _e\nimport transformers.models.auto"
    found = ["torch._x.a", "torch.y._b", "megatron.core._c", "torch._e", "transformers.models.auto"]
    assert _private_imports(ast.parse(code)) == found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_private_names_are_imported_from_compat(path):
    tree = ast.parse(path.read_text())
    assert _private_imports(tree) == []
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and not (isinstance(node.value, ast.Name) and node.value.id == "self")
    }
    assert used & PRIVATE_ATTRIBUTES == set()


@pytest.mark.parametrize("module", ["checkpoint_format", "hub_api", "bridge_api"])
def test_module_imports_without_torch(module):
    code = (
        f"import sys, megatron.bridge.release.compat.{module}\n"
        "print({'torch', 'megatron.core', 'megatron.bridge.models'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "set()"
