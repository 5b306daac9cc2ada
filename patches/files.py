# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Files by their paths in a folder: formatting and writing them."""

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path


# Upstream's own settings, as far as they affect the text. Upstream's files are fixed points of them.
_RUFF = """\
line-length = 119
target-version = "py310"

[lint]
select = ["F401", "I"]

[lint.isort]
known-first-party = ["megatron.bridge", "tests"]
known-third-party = ["examples", "megatron", "scripts"]
lines-after-imports = 2

[lint.per-file-ignores]
"__init__.py" = ["F401"]
"""


def format_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return files with the Python ones formatted as upstream's are: layout, sorted imports, no unused imports.

    Raises:
        OSError: ruff is not installed, or cannot parse a file.
    """
    python = {path: content for path, content in files.items() if path.endswith(".py")}
    if not python:
        return dict(files)
    with tempfile.TemporaryDirectory() as work:
        root = Path(work)
        write_files(python | {"ruff.toml": _RUFF.encode()}, root)
        for command in (["check", "--fix-only"], ["format"]):
            ruff = [sys.executable, "-m", "ruff", *command, "--quiet", "--no-cache", "."]
            result = subprocess.run(ruff, cwd=root, capture_output=True, text=True)
            if result.returncode:
                raise OSError(f"ruff {command[0]} failed: {' / '.join(result.stderr.split(chr(10))).strip(' /')}")
        return {path: (root / path).read_bytes() if path in python else content for path, content in files.items()}


def write_files(files: Mapping[str, bytes], root: Path) -> None:
    """Write files to a folder."""
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)


def require_empty(folder: Path) -> None:
    """Raise FileExistsError if a folder to write to is a file or contains any."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is not an empty folder. Remove it, or name another folder")
