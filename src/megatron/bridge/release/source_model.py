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

"""A Hugging Face model whose files are on this host.

Importing this module imports neither torch nor Megatron Core.
"""

from dataclasses import dataclass
from pathlib import Path


def is_path(name: str) -> bool:
    """Return whether a name has the form of a path, and not of a model ID: ``name`` or ``organization/name``."""
    return name.startswith((".", "/", "~")) or name.endswith("/") or name.count("/") > 1


@dataclass(frozen=True)
class SourceModel:
    """A Hugging Face model whose files are on this host.

    Attributes:
        name: Its ID on the Hugging Face Hub, or its local directory.
        folder: Directory with its files: for a model ID, a snapshot in the cache of `huggingface_hub`.
        revision: Requested revision; None for the default branch, and for a local directory.
        commit: Hash of the commit that ``folder`` contains; None for a local directory.
    """

    name: str
    folder: Path
    revision: str | None = None
    commit: str | None = None
