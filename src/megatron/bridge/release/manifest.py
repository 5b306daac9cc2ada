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

"""The checksums of a checkpoint folder, as Megatron Core writes and checks them (``--verify-integrity``).

Importing this module imports neither torch nor Megatron Core.
"""

import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tqdm import tqdm

from megatron.bridge.release.layout import INTEGRITY_FILE, SUMS_FILE


_ALGORITHM = "sha256"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_LINE = re.compile(rf"({_DIGEST.pattern})  (.+)")


class _CountedFile(io.FileIO):
    """A file that reports how many bytes are read, piece by piece."""

    def __init__(self, path: Path, report: Callable[[int], object]) -> None:
        super().__init__(path)
        self._report = report

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer."""
        count = super().readinto(buffer)
        self._report(count)
        return count


def files_of(folder: Path) -> list[str]:
    """List the files of a checkpoint folder by their paths in it, without links and what they lead to.

    Raises:
        OSError: If a folder in it cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise error

    paths = (Path(directory, name) for directory, _, names in os.walk(folder, onerror=refuse) for name in names)
    return sorted(path.relative_to(folder).as_posix() for path in paths if path.is_file() and not path.is_symlink())


def digests(folder: Path, names: Iterable[str]) -> dict[str, str | OSError]:
    """Compute the SHA-256 of files, several at a time; shows the progress on a terminal.

    Args:
        folder: Checkpoint folder.
        names: Paths in it.

    Returns:
        Each file's digest, 64 hexadecimal digits, or why it cannot be read.
    """
    names = list(names)
    total = sum((folder / name).stat().st_size for name in names if (folder / name).is_file())
    with tqdm(desc="checksums", total=total, unit="B", unit_scale=True, disable=None, leave=False) as progress:

        def digest(name: str) -> str | OSError:
            try:
                with _CountedFile(folder / name, progress.update) as file:
                    return hashlib.file_digest(file, _ALGORITHM).hexdigest()
            except OSError as error:
                return error

        with ThreadPoolExecutor() as threads:
            return dict(zip(names, threads.map(digest, names)))


def write_manifest(folder: Path, known: Mapping[str, str] = {}) -> None:
    """Write the checksums of all files of a checkpoint folder into it, those of its subfolders too.

    Args:
        folder: Checkpoint folder.
        known: Digests of files that need not be read, by their paths in the folder.

    Raises:
        OSError: If a file cannot be read or written.
    """
    names = [name for name in files_of(folder) if name != INTEGRITY_FILE]
    read = digests(folder, [name for name in names if name not in known])
    found = {name: read.get(name, known.get(name, "")) for name in names}
    for digest in found.values():
        if isinstance(digest, OSError):
            raise digest
    # A new file, never the old one's bytes: another checkpoint folder may have those under a second name.
    (folder / INTEGRITY_FILE).unlink(missing_ok=True)
    (folder / INTEGRITY_FILE).write_text(
        json.dumps({"algorithm": _ALGORITHM, "files": found}, indent=2), encoding="utf-8"
    )


def read_manifest(folder: Path) -> dict[str, str]:
    """Read the checksums of a checkpoint folder.

    Args:
        folder: Checkpoint folder.

    Returns:
        Each file's digest, by its path in the folder.

    Raises:
        OSError: If they cannot be read.
        ValueError: If they are damaged.
    """
    try:
        manifest = json.loads((folder / INTEGRITY_FILE).read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError(str(error)) from error
    files = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(files, dict):
        raise ValueError("it names no files")
    # Where it names none, Megatron Core takes this one.
    if manifest.get("algorithm", _ALGORITHM) != _ALGORITHM:
        raise ValueError(f"its algorithm is {manifest['algorithm']!r}, not {_ALGORITHM!r}")
    for name, digest in files.items():
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise ValueError(f"it has no digest of {name!r}")
    return files


def read_sums(folder: Path) -> dict[str, str]:
    """Read the checksums that releases had before the manifest, as ``sha256sum`` writes them.

    Args:
        folder: Checkpoint folder.

    Returns:
        Each file's digest, by its path in the folder.

    Raises:
        OSError: If they cannot be read.
        ValueError: If they are damaged.
    """
    sums: dict[str, str] = {}
    text = (folder / SUMS_FILE).read_text(encoding="utf-8")
    if not text.endswith("\n"):
        raise ValueError("its last line has no end")
    for line in text.removesuffix("\n").split("\n"):
        match = _LINE.fullmatch(line)
        if match is None or match[2] in sums:
            raise ValueError(f"it has the line {line!r}")
        sums[match[2]] = match[1]
    return sums
