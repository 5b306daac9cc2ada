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

"""What the unit and the functional tests share."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import installed
import pytest
import tables

from patches.series import SeriesError
from patches.upstream import VARIABLE, VERSION, WHEEL


ROOT = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--tables``."""
    parser.addoption("--tables", action="store_true", help="write the tables that stand in docs")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Begin only where the sources are what is installed, which the tests run."""
    if hasattr(session.config, "workerinput"):
        return
    site = installed.site()
    if site is None:
        raise pytest.UsageError("megatron.bridge is not installed: run make .venv/installed")
    try:
        stale = installed.stale(ROOT, site)
    except SeriesError as error:
        raise pytest.UsageError(str(error)) from None
    if stale is not None:
        raise pytest.UsageError(stale)


def pytest_collection_finish() -> None:
    """Let the garbage collector leave alone what the imports have made: looking through it takes two seconds a time."""
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Write the tables, if asked to."""
    if config.getoption("--tables"):
        tables.write_tables(terminalreporter)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Note the tables' cells, and skip the tests marked ``gpu`` where there is no CUDA, with the reason."""
    tables.note_cells(items)
    if not any(item.get_closest_marker("gpu") for item in items):
        return
    import torch

    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device on this host"))


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """A real Llama: SmolLM2-135M-Instruct as a Hugging Face folder."""
    import smollm2 as maker

    return maker.make(maker.CACHED)


@pytest.fixture(scope="session")
def upstream_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pinned wheel."""
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE])
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder)]
    subprocess.run([*command, f"megatron-bridge=={VERSION}"], check=True)
    return folder / WHEEL
