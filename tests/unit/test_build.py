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

"""The fork's wheel, built by pip from a small copy of this repository."""

import ast
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from installed import site

from patches.files import format_files
from patches.series import load_series
from patches.upstream import VARIABLE, is_packaged


ROOT = Path(__file__).resolve().parents[2]
NAME = "megatron_bridge-0.6.2+release.1"


def pip_wheel(source: Path, to: Path, upstream: Path | str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "-w", str(to), str(source)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, VARIABLE: str(upstream)})


def contents(wheel: Path) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}


@pytest.fixture(scope="session")
def wheel(fork: Path, upstream_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    stale = fork / "build" / "lib" / "megatron" / "bridge" / "stale.py"
    stale.parent.mkdir(parents=True)
    stale.touch()
    to = tmp_path_factory.mktemp("built")
    result = pip_wheel(fork, to, upstream_wheel)
    assert not result.returncode, result.stdout + result.stderr
    return to / f"{NAME}-py3-none-any.whl"


@pytest.fixture
def copy(fork: Path, tmp_path: Path) -> Path:
    return shutil.copytree(fork, tmp_path / "copy", ignore=shutil.ignore_patterns("build", "*.egg-info"))


def refused(source: Path, tmp_path: Path, upstream: Path | str) -> str:
    """The one line of a build that fails, which leaves nothing behind."""
    result = pip_wheel(source, tmp_path / "wheels", upstream)
    assert result.returncode
    assert not list(tmp_path.glob("wheels/*.whl")) and not (source / "build" / "lib").exists()
    output = result.stdout + result.stderr
    assert "Traceback" not in output
    (line,) = {
        line.strip() for line in output.splitlines() if line.strip().startswith("error: ") and "subproc" not in line
    }
    return line


def test_wheel_contains_only_upstream_and_changes(wheel, upstream_wheel):
    info = f"{NAME}.dist-info/"
    built, upstream = contents(wheel), contents(upstream_wheel)
    package = {name for name in upstream if name.startswith("megatron/")}
    assert {name for name in built if not name.startswith(info)} == package | {"megatron/bridge/added.py"}
    assert [name for name in package if built[name] != upstream[name]] == ["megatron/bridge/utils/import_utils.py"]
    assert {f"{info}licenses/LICENSE", f"{info}licenses/NOTICE"} < built.keys()


def test_wheel_contains_formatted_edited_files(wheel, upstream_wheel):
    path = "megatron/bridge/utils/import_utils.py"
    with zipfile.ZipFile(wheel) as archive, zipfile.ZipFile(upstream_wheel) as original:
        content, upstream = archive.read(path), original.read(path)
    assert format_files({path: content}) == {path: content}
    changed = set(upstream.splitlines()) ^ set(content.splitlines())
    assert len(changed) == 2 and all(b"def safe_import(" in line for line in changed)


def test_installed_package_contains_formatted_edited_files():
    targets = {placed.target for forms in load_series(ROOT).edits.values() for placed in forms}
    edited = {path: (site() / path).read_bytes() for path in targets if is_packaged(path)}
    assert format_files(edited) == edited
    module = ast.parse(edited["megatron/bridge/training/model_load_save.py"])
    (save,) = [node for node in module.body if getattr(node, "name", "") == "save_megatron_model"]
    assert {arg.col_offset for arg in [*save.args.args, *save.args.kwonlyargs]} == {4}


def test_wheel_metadata_replaces_upstream(wheel):
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"{NAME}.dist-info/METADATA").decode()
        entry_points = archive.read(f"{NAME}.dist-info/entry_points.txt").decode()
    assert "\nName: megatron-bridge\nVersion: 0.6.2+release.1\n" in metadata
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    assert entry_points == (
        "[console_scripts]\nmegatron-bridge-release = megatron.bridge.release.__main__:main\n\n"
        "[nemo_run.cli]\nlm = megatron.bridge\n"
    )


def test_second_build_produces_same_wheel(wheel, fork, upstream_wheel, tmp_path):
    assert not pip_wheel(fork, tmp_path, upstream_wheel).returncode
    assert contents(tmp_path / wheel.name) == contents(wheel)


def test_source_distribution_builds_same_wheel(wheel, copy, upstream_wheel, tmp_path):
    command = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", str(tmp_path), str(copy)]
    subprocess.run(command, check=True, capture_output=True)
    sdist = tmp_path / f"{NAME}.tar.gz"
    with tarfile.open(sdist) as archive:
        names = {name.removeprefix(f"{NAME}/") for name in archive.getnames()}
    assert {"setup.py", "pyproject.toml", "LICENSE", "NOTICE", "README.md", "patches/series.toml"} < names
    assert {"patches/edits/package.py", "src/megatron/bridge/added.py", "patches/operations.py"} < names
    assert not pip_wheel(sdist, tmp_path, upstream_wheel).returncode
    assert contents(tmp_path / wheel.name) == contents(wheel)


def test_build_refuses_wheel_with_different_checksum(copy, tmp_path):
    other = tmp_path / "other.whl"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("other.py", "")
    assert refused(copy, tmp_path, other).startswith(f"error: {other} has the SHA-256 ")


def test_build_refuses_different_version(copy, upstream, tmp_path):
    info = upstream / "megatron/bridge/package_info.py"
    info.write_text(info.read_text().replace("PATCH = 2", "PATCH = 3"))
    assert refused(copy, tmp_path, upstream) == (f"error: {upstream} is megatron-bridge 0.6.3, the build needs 0.6.2")


def test_build_refuses_missing_added_file(copy, upstream_wheel, tmp_path):
    (copy / "src/megatron/bridge/added.py").unlink()
    assert refused(copy, tmp_path, upstream_wheel) == (
        "error: patches/series.toml lists the added file 'megatron/bridge/added.py', which is not in src/"
    )


def test_build_refuses_edit_that_does_not_match(copy, upstream, tmp_path):
    assert refused(copy, tmp_path, upstream).startswith(
        "error: megatron/bridge/utils/import_utils.py: edit 'parameter' of safe_import: expected this file, found none"
    )


def test_editable_install_is_refused(copy):
    command = [sys.executable, "-m", "pip", "install", "--no-build-isolation", "--no-deps", "--editable", str(copy)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode
    assert "cannot be installed with --editable; run `pip install .` again after a change" in result.stderr
