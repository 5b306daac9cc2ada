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
"""A program that is forked is seen as one that is started."""

import os
import signal
import subprocess
import sys

import pytest
from workers import WARM, python


CODES = {
    "status": "import sys; sys.exit(3)",
    "message": "import sys; sys.exit('no')",
    "error": "1 / 0",
    "interrupted": "raise KeyboardInterrupt",
    "killed": "import os; os.kill(os.getpid(), 9)",
    "files": "import sys; print(sys.stdin.read()); print(sys.argv, file=sys.stderr)",
    "surroundings": "import os; print(os.getcwd(), os.environ['X'], os.umask(0), __name__)",
    "at exit": "import atexit, threading; atexit.register(print, 1); threading.Timer(0.1, print, [2]).start()",
}


def _end(program: str, code: str, folder: str) -> tuple:
    """Return the status of a program, what it printed, and the last line of what it complained of."""
    command = [program, "-W", "ignore", "-c", code, "word"]
    done = subprocess.run(
        command, input="typed", cwd=folder, env=os.environ | {"X": "1"}, capture_output=True, text=True
    )
    return done.returncode, done.stdout, done.stderr.splitlines()[-1:]


@pytest.mark.parametrize("name", CODES)
def test_forked_program_ends_like_started_program(name, tmp_path):
    assert WARM in os.environ
    assert _end(python(), CODES[name], tmp_path) == _end(sys.executable, CODES[name], tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_signal_ends_forked_program(number):
    code = "import time; print(flush=True); time.sleep(600)"
    with subprocess.Popen([python(), "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.send_signal(number)
        # Its output is closed when the fork has ended.
        process.communicate()
    assert process.returncode == -number
