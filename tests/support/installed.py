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

"""What is installed, which the tests run, beside the sources that somebody edits."""

import importlib.util
from pathlib import Path

from patches.series import ADDED, load_series


def site() -> Path | None:
    """Find the folder that the fork is installed in, without importing it; None where it is not installed."""
    spec = importlib.util.find_spec("megatron.bridge")
    return None if spec is None or spec.origin is None else Path(spec.origin).parents[2]


def stale(root: Path, installed: Path) -> str | None:
    """Compare the files that the fork adds to upstream with what is installed of them.

    Args:
        root: This repository.
        installed: The folder that the fork is installed in.

    Returns:
        Which is the first that differs, and what to do; None where none does.
    """
    for path in (path for change in load_series(root).changes for path in change.adds):
        if not (installed / path).is_file():
            return f"{installed / path} is missing, and {ADDED / path} is not: run make .venv/installed"
        if (installed / path).read_bytes() != (root / ADDED / path).read_bytes():
            return f"{installed / path} is older than {ADDED / path}: run make .venv/installed"
    return None
