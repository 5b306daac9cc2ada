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

"""Reads ``run_config.yaml``, which anybody may have edited.

Importing this module imports neither torch nor Megatron Core.
"""

from pathlib import Path
from typing import Any

import yaml

from megatron.bridge.release.errors import CorruptFileError, one_line
from megatron.bridge.release.layout import RUN_CONFIG


def read_run_config(folder: Path) -> Any:
    """Read the run config of a checkpoint as plain values.

    Args:
        folder: Iteration directory.

    Raises:
        CorruptFileError: If it is damaged.
        OSError: If it cannot be read.
    """
    file = folder / RUN_CONFIG
    try:
        # The loader in C, which not every PyYAML has, takes a twentieth of the time.
        return yaml.load(file.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise CorruptFileError(file, one_line(error)) from error
