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

"""A program that runs in a fork of a process of `warm`. It is copied under each program's name, beside the sockets."""

import array
import json
import os
import signal
import socket
import sys


def _standard_files():
    """The descriptors 0 to 2, with another file in place of those that are closed."""
    files, closed = [], []
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
            files.append(descriptor)
        except OSError:
            closed.append(descriptor)
            files.append(os.open("/dev/null", os.O_RDWR))
    return files, closed


def main():
    """Ask for the fork, and end as it does."""
    files, closed = _standard_files()
    is_rank = "MEGATRON_LM_ON_CPU" in os.environ and "LOCAL_RANK" in os.environ
    umask = os.umask(0)
    os.umask(umask)
    environment, directory = dict(os.environ), os.getcwd()
    request = dict(words=sys.argv, environment=environment, directory=directory, umask=umask, closed=closed)
    text = json.dumps(request).encode()
    connection = socket.socket(socket.AF_UNIX)
    # A socket's name is short, and a directory's may be long.
    os.chdir(os.path.dirname(__file__))
    program = sys.argv[:4]
    is_child = "megatron.bridge.release.host.child_process" in program
    plain = "bare" if "WITHOUT_STAND_INS" in environment and not is_child else "plain"
    kind = plain if not is_rank else "entry" if "megatron.bridge.release.megatron_lm" in program else "cpu"
    connection.connect(f"{kind}.socket")
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))]
    connection.sendmsg([len(text).to_bytes(8, "big")], ancillary)
    connection.sendall(text)
    process = int.from_bytes(connection.recv(8), "big")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: os.kill(process, number))
    status = int.from_bytes(connection.recv(8), "big", signed=True)
    if status < 0:
        signal.signal(-status, signal.SIG_DFL) if -status != signal.SIGKILL else None
        os.kill(os.getpid(), -status)
    os._exit(status)


main()
