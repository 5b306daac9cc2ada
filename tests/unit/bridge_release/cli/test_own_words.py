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

import subprocess
import sys


NOISE = """
import logging, os, sys, warnings
from megatron.bridge_release.cli.own_words import own_words
with own_words(verbose=sys.argv[1] == "True") as (out, err):
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


def test_the_user_sees_no_word_of_a_library_and_every_own_one():
    run = _run(False)
    assert (run.stdout, run.stderr) == ("result\nafter\n", "progress\nafter\n")


def test_on_request_all_of_it_goes_to_stderr_and_never_into_the_result():
    run = _run(True)
    assert run.stdout == "result\nafter\n"
    said = ("print", "stderr", "descriptor 1", "descriptor 2", "warning", "logging", "child")
    assert all(f"library: {what}" in run.stderr for what in said)


def test_an_error_inside_leaves_the_descriptors_as_they_were():
    code = NOISE.replace('    print("result", file=out)', "    raise SystemExit(5)")
    run = subprocess.run([sys.executable, "-c", code, "False"], capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (5, "", "")
