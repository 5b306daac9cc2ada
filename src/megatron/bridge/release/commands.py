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

"""The commands of `megatron.bridge.release`, which Megatron-Bridge does without.

Importing this module imports neither torch nor Megatron Core.
"""

import shlex
from importlib.util import find_spec
from pathlib import Path


def release_command(verb: str, root: str | Path) -> str:
    """Return the command line that does something with a root.

    Args:
        verb: ``check``, ``launch`` or ``repair``.
        root: Checkpoint root.

    Returns:
        The command; empty where `megatron.bridge.release` is not installed.
    """
    module = "megatron.bridge.release"
    return f"python -m {module} {verb} {shlex.quote(str(root))}" if find_spec(module) else ""


def repair_command(root: str | Path) -> str:
    """Return the command that repairs a root; empty where there is none."""
    return release_command("repair", root)
