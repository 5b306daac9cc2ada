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

"""Where upstream is taken from, and what is refused."""

import subprocess
import zipfile
from pathlib import Path

import pytest

from patches import upstream as module
from patches.upstream import FORK_VERSION, SHA256, VARIABLE, VERSION, WHEEL, UpstreamError, open_upstream


@pytest.fixture(autouse=True)
def without_variable(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def wheel(upstream: Path, tmp_path: Path) -> Path:
    path = tmp_path / WHEEL
    with zipfile.ZipFile(path, "w") as archive:
        for file in upstream.rglob("*.py"):
            archive.write(file, file.relative_to(upstream))
        archive.writestr("../outside.py", "")
    return path


def refused(source: Path | None, tmp_path: Path, pinned: bool = False) -> str:
    with pytest.raises(UpstreamError) as caught:
        open_upstream(source, tmp_path / "work", pinned=pinned)
    return str(caught.value)


def test_fork_version_is_local_version_of_pinned_version():
    assert FORK_VERSION.partition("+")[0] == VERSION
    assert VERSION in WHEEL


def test_open_upstream_accepts_tree(upstream, tmp_path):
    opened = open_upstream(upstream, tmp_path, pinned=True)
    assert (opened.root, opened.version) == (upstream, VERSION)


def test_open_upstream_accepts_checkout(upstream, tmp_path):
    (tmp_path / "checkout").mkdir()
    upstream.rename(tmp_path / "checkout" / "src")
    assert open_upstream(tmp_path / "checkout", tmp_path).root == tmp_path / "checkout" / "src"


def test_only_the_package_of_a_wheel_is_unpacked(wheel, tmp_path):
    opened = open_upstream(wheel, tmp_path / "work")
    assert opened.version == VERSION
    assert (opened.root / "megatron/bridge/package.py").is_file()
    assert not list(tmp_path.rglob("outside.py"))


def test_environment_variable_sets_upstream(upstream, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(upstream))
    assert open_upstream(None, tmp_path).root == upstream


def test_build_refuses_wheel_with_different_checksum(wheel, tmp_path):
    message = refused(wheel, tmp_path, pinned=True)
    assert message.startswith(f"{wheel} has the SHA-256 ")
    assert message.endswith(f", the build needs {WHEEL} with {SHA256}")
    assert not (tmp_path / "work").exists()


def test_build_refuses_different_version(upstream, tmp_path):
    path = upstream / "megatron/bridge/package_info.py"
    path.write_text(path.read_text().replace("MINOR = 6", "MINOR = 7"))
    assert (
        refused(upstream, tmp_path, pinned=True) == f"{upstream} is megatron-bridge 0.7.2, the build needs {VERSION}"
    )
    assert open_upstream(upstream, tmp_path).version == "0.7.2"


def test_open_upstream_requires_version(upstream, tmp_path):
    path = upstream / "megatron/bridge/package_info.py"
    path.write_text("MAJOR = 0\n")
    assert refused(upstream, tmp_path) == f"{path} has no MINOR"


def test_path_without_upstream_is_refused(tmp_path):
    text = tmp_path / "a.txt"
    text.touch()
    assert refused(text, tmp_path) == f"{text} is neither a wheel nor a folder with megatron/bridge in it"
    assert refused(tmp_path / "lost", tmp_path) == f"{tmp_path / 'lost'} does not exist"
    (tmp_path / "empty").mkdir()
    assert refused(tmp_path / "empty", tmp_path) == (
        f"{tmp_path / 'empty'} is neither a Megatron-Bridge wheel, a checkout nor an unpacked tree"
    )


def test_wheel_of_different_project_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as archive:
        archive.writestr("other.py", "")
    assert refused(tmp_path / "other.whl", tmp_path) == (
        f"{tmp_path / 'other.whl'} is neither a Megatron-Bridge wheel, a checkout nor an unpacked tree"
    )


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        ("WARNING: old\nERROR: No matching distribution found\nnotice\n", "No matching distribution found"),
        ("Something else\n", "Something else"),
        ("", "exit status 1"),
    ],
)
def test_download_error_shows_reason_and_next_step(tmp_path, monkeypatch, stderr, reason):
    failed = subprocess.CompletedProcess([], 1, "", stderr)
    monkeypatch.setattr(module.subprocess, "run", lambda *_, **__: failed)
    assert refused(None, tmp_path) == (
        f"pip cannot download megatron-bridge {VERSION}: {reason}. "
        f"Set {VARIABLE} to the path of {WHEEL} to build without a package index"
    )


def test_downloaded_wheel_is_verified(wheel, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_download", lambda _: wheel)
    assert "has the SHA-256" in refused(None, tmp_path)
