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
from pathlib import Path

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


def test_no_registration_is_lost(upstream_wheel, tmp_path):
    theirs = _registered(open_upstream(upstream_wheel, tmp_path, pinned=True).root / PACKAGE)
    assert len(theirs) > 40 and theirs <= set(AutoBridge.list_supported_models())
