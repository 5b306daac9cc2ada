# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The upstream release that the fork is built from, and how to get it."""

import hashlib
import os
import re
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path


VERSION = "0.6.2"
WHEEL = "megatron_bridge-0.6.2-py3-none-any.whl"
SHA256 = "bcb7274ab9327167c345aa24b96b95790ce5090df1945d883bdc41065d5649e2"
FORK_VERSION = "0.6.2+release.1"

VARIABLE = "MEGATRON_BRIDGE_UPSTREAM"
PACKAGE = Path("megatron", "bridge")


class UpstreamError(Exception):
    """Upstream is not found, or has another version than the pinned one."""


@dataclass(frozen=True)
class Upstream:
    """The folder that contains `megatron/bridge`, its version, and its git checkout, if any."""

    root: Path
    version: str
    checkout: Path | None = None

    @property
    def is_in_megatron_lm(self) -> bool:
        """Whether the package is at the root of its repository, as in Megatron-LM, to which the project moves."""
        return self.checkout == self.root


def is_packaged(path: str) -> bool:
    """Return whether a path in upstream is in its package, and not elsewhere in its repository."""
    return path.startswith(f"{PACKAGE.as_posix()}/")


def open_upstream(source: Path | None, workdir: Path, *, pinned: bool = False) -> Upstream:
    """Find upstream's package, or raise an UpstreamError.

    Args:
        source: A wheel, a checkout or an unpacked tree. None for the path in the environment variable
            MEGATRON_BRIDGE_UPSTREAM or, if it is not set, for the pinned wheel from pip's package index.
        workdir: A folder for the downloaded and unpacked wheel.
        pinned: Whether to refuse another release than the pinned one, as a build does.
    """
    if source is None and os.environ.get(VARIABLE):
        source = Path(os.environ[VARIABLE])
    if source is None:
        source, pinned = _download(workdir), True
    root = _unpack(source, workdir, pinned) if source.is_file() else _package_root(source)
    upstream = Upstream(root, _version(root), source if (source / ".git").exists() else None)
    if pinned and upstream.version != VERSION:
        raise UpstreamError(f"{source} is megatron-bridge {upstream.version}, the build needs {VERSION}")
    return upstream


def _download(workdir: Path) -> Path:
    """Download the pinned wheel with pip, from the index that pip is configured for."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    result = subprocess.run(
        [*command, "--dest", str(workdir), f"megatron-bridge=={VERSION}"], capture_output=True, text=True
    )
    if result.returncode:
        lines = [line for line in result.stderr.splitlines() if line.startswith("ERROR")] or result.stderr.splitlines()
        reason = lines[-1].removeprefix("ERROR: ").strip() if lines else f"exit status {result.returncode}"
        raise UpstreamError(
            f"pip cannot download megatron-bridge {VERSION}: {reason}. "
            f"Set {VARIABLE} to the path of {WHEEL} to build without a package index"
        )
    return workdir / WHEEL


def _unpack(wheel: Path, workdir: Path, pinned: bool) -> Path:
    if not zipfile.is_zipfile(wheel):
        raise UpstreamError(f"{wheel} is neither a wheel nor a folder with megatron/bridge in it")
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if pinned and found != SHA256:
        raise UpstreamError(f"{wheel} has the SHA-256 {found}, the build needs {WHEEL} with {SHA256}")
    root = workdir / "upstream"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(root, [name for name in archive.namelist() if name.startswith(f"{PACKAGE.as_posix()}/")])
    return _package_root(root, called=wheel)


def _package_root(folder: Path, called: Path | None = None) -> Path:
    for root in (folder / "src", folder):
        if (root / PACKAGE / "package_info.py").is_file():
            return root
    if not folder.exists() and called is None:
        raise UpstreamError(f"{folder} does not exist")
    raise UpstreamError(f"{called or folder} is neither a Megatron-Bridge wheel, a checkout nor an unpacked tree")


def _version(root: Path) -> str:
    """Read the version without importing upstream, whose dependencies may be missing."""
    path = root / PACKAGE / "package_info.py"
    values = dict(re.findall(r"""^(\w+) = ["']?(.*?)["']?$""", path.read_text(), re.MULTILINE))
    try:
        return "{MAJOR}.{MINOR}.{PATCH}{PRE_RELEASE}".format(**values)
    except KeyError as error:
        raise UpstreamError(f"{path} has no {error.args[0]}") from None
