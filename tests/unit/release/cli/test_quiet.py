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

"""What libraries print is kept apart from what the command says."""

import logging
import os
import re
import subprocess
import sys

import pytest

from megatron.bridge.release.cli.quiet import capture_library_output


NOISE = """
import logging, os, sys, warnings
from megatron.bridge.release.cli.quiet import capture_library_output
with capture_library_output(verbose=sys.argv[1] == "True") as (out, err):
    print("library: print")
    print("library: stderr", file=sys.stderr)
    os.write(1, b"library: descriptor 1\\n")
    os.write(2, b"library: descriptor 2\\n")
    warnings.warn("library: warning")
    logging.getLogger("library").warning("library: logging")
    subprocess = os.system("echo library: child")
    print("result", file=out)
    print("progress", file=err)
print("after")
print("after", file=sys.stderr)
"""


def _run(verbose: bool) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", NOISE, str(verbose)], capture_output=True, text=True, check=True)


def test_library_output_is_hidden_and_command_output_is_shown():
    run = _run(False)
    assert (run.stdout, run.stderr) == ("result\nafter\n", "progress\nafter\n")


def test_verbose_output_goes_to_stderr_only():
    run = _run(True)
    assert run.stdout == "result\nafter\n"
    said = ("print", "stderr", "descriptor 1", "descriptor 2", "warning", "logging", "child")
    assert all(f"library: {what}" in run.stderr for what in said)


def test_library_output_is_hidden_when_command_exits():
    code = NOISE.replace('    print("result", file=out)', "    raise SystemExit(5)")
    run = subprocess.run([sys.executable, "-c", code, "False"], capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (5, "", "")


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyError("name"), AssertionError()])
def test_unexpected_error_names_the_log_file(error, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(type(error)) as caught, capture_library_output(verbose=False):
        print("library: print")
        os.write(2, b"library: descriptor 2\n")
        raise error
    (log,) = tmp_path.iterdir()
    assert caught.value.__notes__ == [f"The output of the libraries is in {log}"]
    assert re.fullmatch(r"megatron-bridge-release-\w+\.log", log.name)
    assert set(log.read_text().splitlines()) == {"library: print", "library: descriptor 2"}


@pytest.mark.parametrize(
    "error", [None, ValueError("refused"), OSError(28, "full"), KeyboardInterrupt(), SystemExit(1)]
)
@pytest.mark.parametrize("verbose", [True, False])
def test_capture_leaves_no_temporary_file_and_no_note(error, verbose, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    try:
        with capture_library_output(verbose=verbose):
            print("library: print")
            if error is not None:
                raise error
    except BaseException as caught:
        assert caught is error and not hasattr(caught, "__notes__")
    assert not list(tmp_path.iterdir())


def test_capture_closes_descriptors_and_removes_log_handlers(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(logging.root, "handlers", [])
    before = sorted(os.listdir("/proc/self/fd"))
    with capture_library_output(verbose=False):
        logger = logging.Logger("library")
        logger.addHandler(logging.StreamHandler())
        logger.warning("inside")
        assert logging.root.handlers
    assert sorted(os.listdir("/proc/self/fd")) == before and logging.root.handlers == []
    # A handler that a library has made meanwhile goes on with the user's stderr.
    logger.warning("after")
    assert capsys.readouterr().err == "after\n"


def test_capture_works_without_temporary_directory(monkeypatch, capfd):
    def fail(**_):
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("tempfile.mkstemp", fail)
    with pytest.raises(RuntimeError) as caught, capture_library_output(verbose=False):
        print("library: print")
        raise RuntimeError
    assert not hasattr(caught.value, "__notes__") and capfd.readouterr() == ("", "")


def test_capture_ignores_full_disk(monkeypatch):
    monkeypatch.setattr("tempfile.mkstemp", lambda **_: (os.open("/dev/full", os.O_WRONLY), os.devnull))
    monkeypatch.setattr("os.unlink", lambda path: None)
    with capture_library_output(verbose=False):
        print("library: print")
        print("x" * 100_000, flush=True)
