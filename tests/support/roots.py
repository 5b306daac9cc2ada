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

"""Checkpoint roots as files: their names and their bytes, and the args that a release carries."""

import os
import re
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch


# The first file of tensors that rank 0 writes, as any import names it.
SHARD = "__0_0.distcp"

# The ID of an import, which its files carry.
_ID = re.compile(r"_[0-9a-f]{8}(?=\.distcp$)")


def contents(root: Path) -> dict[str, bytes]:
    """Read all that a checkpoint root holds, by its name relative to it.

    Args:
        root: The root, or any folder.

    Returns:
        The bytes of each file; of a link, an arrow and where it leads.
    """
    return {
        path.relative_to(root).as_posix(): (
            b"-> " + os.readlink(os.fsencode(path)) if path.is_symlink() else path.read_bytes()
        )
        for path in root.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def stamps(root: Path) -> dict[str, tuple[int, int]]:
    """Give the size of each file of a folder, and when it was last written: what a test that changes one changes."""
    found = {path.relative_to(root).as_posix(): path.lstat() for path in root.rglob("*") if not path.is_dir()}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in found.items()}


def changed(before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]) -> list[str]:
    """Name the files that are another, are new or are gone, by what `stamps` gave."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def visible_contents(root: Path) -> dict[str, bytes]:
    """Read what a reader may see of a checkpoint root: all but what an import has for itself."""
    return {name: data for name, data in contents(root).items() if not name.startswith(".release-")}


def of_any_import(name: str) -> str:
    """Name a file as any import names it."""
    return _ID.sub("", name)


def tree(root: Path) -> list[str]:
    """Name the files of a checkpoint root, relative to it, each as any import names it."""
    return sorted(of_any_import(str(path.relative_to(root))) for path in root.rglob("*") if path.is_file())


def shard(folder: Path, rank: int = 0, number: int = 0) -> Path:
    """Find a file of tensors in a checkpoint folder."""
    (path,) = [path for path in folder.glob("*.distcp") if of_any_import(path.name) == f"__{rank}_{number}.distcp"]
    return path


def stored_args(root: Path) -> Namespace:
    """Read the args of Megatron-LM that a release carries for megatron-core before 0.19."""
    return torch.load(root / "release/common.pt", weights_only=True)["args"]


def change_args(root: Path, **changes: Any) -> None:
    """Give args that a release carries other values, and write its checksums anew."""
    # Workers that run with another megatron-core import this module, and have no need of the fork.
    from megatron.bridge.release.manifest import write_manifest

    common = torch.load(root / "release/common.pt", weights_only=True)
    vars(common["args"]).update(changes)
    torch.save(common, root / "release/common.pt")
    write_manifest(root / "release")
