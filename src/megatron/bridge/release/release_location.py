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

"""Finds the release that a checkpoint belongs to: next to it, or in the directory that the training started from."""

from pathlib import Path

from megatron.bridge.release.layout import RELEASE


def find_release(root: Path, named: Path | None = None) -> Path:
    """Return the folder of the release that a checkpoint directory belongs to.

    Args:
        root: Checkpoint directory.
        named: Checkpoint directory of the release, if a training saved to another one; None if it is the same.

    Returns:
        The release's folder. It need not exist, unless it is named.

    Raises:
        ValueError: If the named directory contains no release, or if the checkpoint directory has its own.
    """
    own = root / RELEASE
    if named is None:
        return own
    release = named / RELEASE
    if not release.is_dir():
        raise ValueError(
            f"{named} contains no {RELEASE}/. Name the checkpoint directory that the training started from: an import wrote it."
        )
    if own.is_dir() and not own.samefile(release):
        raise ValueError(
            f"{root} contains its own {RELEASE}/, so its checkpoints belong to that. Leave out --release."
        )
    return release


def name_release(root: Path) -> str:
    """Return what to do if a checkpoint directory contains no release."""
    return (
        f"{root} contains no {RELEASE}/. If the training started from another checkpoint directory, name it with "
        "--release CKPT."
    )
