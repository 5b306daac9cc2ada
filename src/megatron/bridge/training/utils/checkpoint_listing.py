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

"""Lists what a checkpoint root holds, on a filesystem or in an object store."""

from megatron.bridge.release.compat.megatron_core_api import maybe_msc
from megatron.bridge.release.layout import is_checkpoint_folder


def tracker_text(tracker_filename: str) -> str:
    """Read a text tracker as it is.

    Args:
        tracker_filename: Path of a ``latest_checkpointed_iteration.txt``.

    Returns:
        What it holds.
    """
    with maybe_msc.open(tracker_filename, "r") as tracker:
        return str(tracker.read())


def checkpoint_folders(root: str) -> list[str]:
    """List the checkpoint folders of a root; half-written and foreign ones do not match.

    Args:
        root: Checkpoint root; it need not exist.

    Returns:
        Their names, sorted.
    """
    path = maybe_msc.Path(root)
    if not path.is_dir():
        return []
    return sorted(child.name for child in path.iterdir() if child.is_dir() and is_checkpoint_folder(child.name))
