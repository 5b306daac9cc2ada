# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Reads and writes ``integrity.json``, Megatron Core's manifest of checksums (``--verify-integrity``).

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

from megatron.bridge.release.layout import INTEGRITY_FILE


_ALGORITHM = "sha256"
_DIGEST = re.compile(r"[0-9a-f]{64}")


class _CountedFile(io.FileIO):
    """A file that reports the size of each read."""

    def __init__(self, path: Path, report: Callable[[int], object]) -> None:
        super().__init__(path)
        self._report = report

    def readinto(self, buffer: Any) -> int:
        """See `io.FileIO`."""
        count = super().readinto(buffer)
        self._report(count)
        return count


def files_of(folder: Path) -> list[str]:
    """List the relative paths of all regular files in a directory. Raise OSError if a subdirectory cannot be read."""

    def refuse(error: OSError) -> None:
        raise error

    paths = (Path(directory, name) for directory, _, names in os.walk(folder, onerror=refuse) for name in names)
    return sorted(path.relative_to(folder).as_posix() for path in paths if path.is_file() and not path.is_symlink())


def digests(folder: Path, names: Iterable[str]) -> dict[str, str | OSError]:
    """Compute the SHA-256 of files in parallel, with a progress bar on a terminal.

    Args:
        folder: Iteration directory.
        names: Relative paths.

    Returns:
        By relative path, 64 hexadecimal digits, or the error if the file cannot be read.
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
    """Write the manifest of an iteration directory. Raise OSError if a file cannot be read or written.

    Args:
        folder: Iteration directory.
        known: Digests that need not be computed, by relative path.
    """
    names = [name for name in files_of(folder) if name != INTEGRITY_FILE]
    computed = digests(folder, [name for name in names if name not in known])
    files = {name: computed.get(name, known.get(name, "")) for name in names}
    for digest in files.values():
        if isinstance(digest, OSError):
            raise digest
    # Unlink first: the old file may be hard-linked into another checkpoint.
    (folder / INTEGRITY_FILE).unlink(missing_ok=True)
    (folder / INTEGRITY_FILE).write_text(
        json.dumps({"algorithm": _ALGORITHM, "files": files}, indent=2), encoding="utf-8"
    )


def read_manifest(folder: Path) -> dict[str, str]:
    """Read the manifest of an iteration directory.

    Returns:
        Digests by relative path.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is invalid. The text is the reason, without the name of the file.
    """
    try:
        manifest = json.loads((folder / INTEGRITY_FILE).read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError(str(error)) from error
    files = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(files, dict):
        raise ValueError('no "files" entry')
    # Megatron Core uses SHA-256 too if the manifest declares no algorithm.
    if manifest.get("algorithm", _ALGORITHM) != _ALGORITHM:
        raise ValueError(f"unsupported algorithm {manifest['algorithm']!r}")
    for name, digest in files.items():
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise ValueError(f"no SHA-256 for {name!r}")
    return files
