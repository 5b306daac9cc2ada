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

"""Tests of child_process: a function in a child process returns, raises, warns and ends as if it ran in this one."""

import os
import signal
import sys
import threading
import time
import warnings
from pathlib import Path

import child_functions
import pytest
from expected_errors import raises

from megatron.bridge.release.errors import CorruptFileError
from megatron.bridge.release.host.child_process import run_in_child
from megatron.bridge.release.host.errors import ChildProcessEndedError
from megatron.bridge.release.validation.model_errors import SkippedTensorsWarning


def test_child_has_stand_ins_and_is_no_rank(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("LOCAL_RANK", "0")
    found = run_in_child(child_functions.describe)
    assert found["process"] != os.getpid() and found["group"] == found["process"]
    assert (found["ranks"], found["input"], found["has_stand_in"]) == ([], "", True)
    assert os.environ["RANK"] == "0"


def test_release_warnings_are_issued_in_this_process(capfd):
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("always")
        assert run_in_child(child_functions.warn, 2) == 2
    assert [type(each.message) for each in issued] == [SkippedTensorsWarning] * 2
    assert "of a library" in capfd.readouterr().err


def test_error_for_users_is_raised_as_it_is():
    with raises(CorruptFileError("a.json", "it is empty")) as raised:
        run_in_child(child_functions.refuse, name="a.json")
    assert not hasattr(raised.value, "__notes__")


def test_other_error_has_its_text_and_traceback():
    with pytest.raises(RuntimeError, match="UnpicklableError: 1 and 2") as raised:
        run_in_child(child_functions.fail)
    (note,) = raised.value.__notes__
    assert "Traceback" in note and "in fail" in note


def test_function_that_the_child_cannot_import_is_an_error(monkeypatch, tmp_path):
    (tmp_path / "passing.py").write_text("def function(): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    import passing

    (tmp_path / "passing.py").unlink()
    with pytest.raises(ModuleNotFoundError, match="passing"):
        run_in_child(passing.function)
    del sys.modules["passing"]


def test_arguments_that_cannot_be_pickled_are_an_error():
    with pytest.raises((TypeError, AttributeError), match="pickle|local object"):
        run_in_child(child_functions.refuse, lambda: None)


@pytest.mark.parametrize("status", [3, -signal.SIGKILL])
def test_end_without_an_outcome_is_an_error(status):
    with raises(ChildProcessEndedError(status)):
        run_in_child(child_functions.end, status)


def _wait_for(file: Path) -> int:
    while not (file.exists() and file.read_text()):
        time.sleep(0.01)
    return int(file.read_text())


@pytest.mark.parametrize("function", ["clean_up_when_interrupted", "finish_despite_interrupt"])
def test_interrupt_waits_for_the_child(tmp_path, function):
    def interrupt() -> None:
        _wait_for(tmp_path / "started")
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    try:
        with pytest.raises(KeyboardInterrupt) as raised:
            run_in_child(getattr(child_functions, function), tmp_path)
    finally:
        interrupting.join()
        signal.signal(signal.SIGINT, before)
    if function == "clean_up_when_interrupted":
        assert (tmp_path / "cleaned").exists() and str(raised.value) == "interrupted; nothing was written"


def test_child_ends_with_its_parent(tmp_path):
    parent = os.fork()
    if parent == 0:
        run_in_child(child_functions.clean_up_when_interrupted, tmp_path)
    child = _wait_for(tmp_path / "started")
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    deadline = time.monotonic() + 30
    while not (tmp_path / "cleaned").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (tmp_path / "cleaned").exists() and child != parent
