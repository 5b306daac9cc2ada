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

"""A session whose sources are not what is installed does not begin."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import installed
import pytest


ROOT = Path(__file__).resolve().parents[2]
ADDED = "megatron/bridge/added.py"


@pytest.fixture
def site(project: Path, tmp_path: Path) -> Path:
    """A folder in which the tiny fork is installed, beside what upstream has."""
    shutil.copytree(project / "src", tmp_path / "site")
    (tmp_path / "site/megatron/bridge/__init__.py").write_text("raise AssertionError('it is imported')\n")
    return tmp_path / "site"


def test_up_to_date_installation_is_accepted(project, site):
    assert installed.stale(project, site) is None


def test_edited_source_is_reported_as_stale(project, site):
    (project / "src" / ADDED).write_text("ADDED = False\n")
    assert installed.stale(project, site) == f"{site / ADDED} is older than src/{ADDED}: run make .venv/installed"


def test_missing_installed_file_is_reported(project, site):
    (site / ADDED).unlink()
    expected = f"{site / ADDED} is missing, and src/{ADDED} is not: run make .venv/installed"
    assert installed.stale(project, site) == expected


def test_installed_copy_is_found_without_importing_bridge(site):
    code = "import sys, installed; print(installed.site()); assert 'megatron.bridge' not in sys.modules"
    path = os.pathsep.join(map(str, (site, ROOT, ROOT / "tests/support")))
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=True)
    assert run.stdout == f"{site}\n"


def test_session_aborts_when_installation_is_stale(pytestconfig, site, monkeypatch, project):
    (project / "src" / ADDED).write_text("ADDED = False\n")
    (conftest,) = (
        plugin
        for plugin in pytestconfig.pluginmanager.get_plugins()
        if getattr(plugin, "__file__", None) == str(ROOT / "tests/conftest.py")
    )
    monkeypatch.setattr(conftest, "ROOT", project)
    monkeypatch.setattr(installed, "site", lambda: site)

    class Session:
        config = object()

    with pytest.raises(pytest.UsageError, match=f"added.py is older than src/{ADDED}: run make .venv/installed"):
        conftest.pytest_sessionstart(Session)

    class Worker:
        class config:
            workerinput: dict = {}

    conftest.pytest_sessionstart(Worker)
