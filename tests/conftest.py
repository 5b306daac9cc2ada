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

import datetime
import gc
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import installed
import pytest
import stand_ins  # noqa: F401
import tables
import warm
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from patches.series import SeriesError
from patches.upstream import VARIABLE, VERSION, WHEEL


ROOT = Path(__file__).resolve().parents[1]

# Files that share what takes long to make: `imported` and `two_ranks`. One worker runs them.
TWO_RANKS = ("test_megatron_lm_reads_a_release", "test_families", "test_parallel_layouts", "test_round_trip")
# Files, and that group, that take long, the longest first, so that no worker waits for another at the end.
LONGEST = (
    *("test_life", "two ranks", "test_docs", "test_pretrain", "test_config_table", "test_repair_crashes"),
    *("test_crash_safety", "test_killed_ranks", "test_transformer_engine_host", "test_streaming", "test_command_line"),
    *("test_matrix", "test_slurm", "test_hub", "test_series", "test_build", "test_export_of_trained", "test_compute"),
    *("test_publish", "test_check_integrity", "test_import_errors", "test_packages"),
)


class _Groups(LoadScopeScheduling):
    """Gives each worker of xdist a group of tests at a time."""

    def _split_scope(self, nodeid: str) -> str:
        return _group(nodeid)


def _group(nodeid: str) -> str:
    file = Path(nodeid.partition("::")[0]).stem
    return "two ranks" if file in TWO_RANKS else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Group the tests. (With pytest 9.2, xdist 3.8 does not see the marker of `--dist loadgroup`.)"""
    return _Groups(config, log)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--tables``."""
    parser.addoption("--tables", action="store_true", help="write the tables that stand in docs")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Begin only where the sources are what is installed, which the tests run."""
    if hasattr(session.config, "workerinput"):
        return
    os.environ.setdefault("CRASH_SEED", str(datetime.date.today().toordinal()))
    site = installed.site()
    if site is None:
        raise pytest.UsageError("megatron.bridge is not installed: run make .venv/installed")
    try:
        stale = installed.stale(ROOT, site)
    except SeriesError as error:
        raise pytest.UsageError(str(error)) from None
    if stale is not None:
        raise pytest.UsageError(stale)
    # Before the workers of xdist, which inherit the environment.
    programs = ExitStack()
    session.config.add_cleanup(programs.close)
    programs.enter_context(warm.start(Path(programs.enter_context(tempfile.TemporaryDirectory()))))


def pytest_collection_finish() -> None:
    """Let the garbage collector leave alone what the imports have made: looking through it takes two seconds a time."""
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how to crash at the same operations again; write the tables, if asked to."""
    terminalreporter.write_line(f"CRASH_SEED={os.environ['CRASH_SEED']}")
    if config.getoption("--tables"):
        tables.write_tables(terminalreporter)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with long groups; note the tables' cells; skip tests marked ``gpu`` where there is no CUDA."""
    items.sort(key=lambda item: [*LONGEST, _group(item.nodeid)].index(_group(item.nodeid)))
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
