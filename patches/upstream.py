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

"""The upstream release that the fork is built from, and where to take it from."""

import ast
import hashlib
import os
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
    """Upstream is not there, or is not the one that is wanted."""


@dataclass(frozen=True)
class Upstream:
    """Upstream's package in a folder.

    Args:
        root: The folder that holds `megatron/bridge`.
        version: Upstream's version.
    """

    root: Path
    version: str


def open_upstream(source: Path | None, workdir: Path, *, pinned: bool = False) -> Upstream:
    """Find upstream's package.

    Args:
        source: A wheel, a checkout or an unpacked tree; None for the one that the environment variable
            MEGATRON_BRIDGE_UPSTREAM names, or else the pinned wheel from pip's package index.
        workdir: A folder for what is downloaded and unpacked.
        pinned: Whether nothing but the pinned release will do, as for a build.

    Returns:
        The package.

    Raises:
        UpstreamError: If there is none, or not the one that is wanted.
    """
    if source is None and os.environ.get(VARIABLE):
        source = Path(os.environ[VARIABLE])
    if source is None:
        source, pinned = _download(workdir), True
    root = _unpack(source, workdir, pinned) if source.is_file() else _package_root(source)
    upstream = Upstream(root, _version(root))
    if pinned and upstream.version != VERSION:
        raise UpstreamError(f"{source} is megatron-bridge {upstream.version}, the build needs {VERSION}")
    return upstream


def _download(workdir: Path) -> Path:
    """Let pip download the pinned wheel from whatever index it is configured for."""
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
    """Read the version without importing upstream, which needs all that it depends on."""
    path = root / PACKAGE / "package_info.py"
    values: dict[str, object] = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            if isinstance(node.value, ast.Constant):
                values[node.targets[0].id] = node.value.value
    try:
        return "{MAJOR}.{MINOR}.{PATCH}{PRE_RELEASE}".format(**values)
    except KeyError as error:
        raise UpstreamError(f"{path} has no {error.args[0]}") from None
