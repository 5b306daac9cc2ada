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

"""Runs Python programs from a process that has imported Bridge already: each is forked from it instead of started anew.

Starting Python with Bridge costs ten seconds or more; a fork costs a few milliseconds. A session of pytest starts four
such processes (`start`): a plain one, which has the stand-ins for CUDA packages, as the command has; one without them, for
programs that have `WITHOUT_STAND_INS` in their environment; one for ranks of Megatron-LM on the CPU (`cpu_site`); and one for
ranks that start with the fork's entry point, which has not imported Megatron Core's GPT model. Each imports when it gets its
first request.

Tests start programs under their usual names. `workers.programs()` returns a PATH whose first directory contains
`python`, `torchrun` and `megatron-bridge-release`. Each of them (`warm_program.py`) passes its arguments, environment,
working directory and open files on, passes signals on, and ends as the forked process ends. So the parent sees no
difference. What does differ: warnings and errors of the imports themselves do not show, and variables that are read
during the imports have no effect, except those of a Hub (`hub_server.environment`). Tests of these start `sys.executable`.

    python warm.py DESCRIPTOR MODULE …

accepts on a socket that listens, and imports the modules before it forks for the first time.
"""

import atexit
import gc
import importlib
import json
import multiprocessing.process
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from workers import SUPPORT, WARM, python


# It corrects Megatron Core's GPT model while that is imported.
_ENTRY_POINT = "megatron.bridge.release.megatron_lm"
NAMES = ("python", "torchrun", "megatron-bridge-release")
_BARE = (
    *("megatron.bridge.release.__main__", "megatron.bridge.training.model_load_save", "megatron.training.arguments"),
    *("megatron.bridge.release.verify.megatron_model", "megatron.bridge.release.cli.importing"),
    *("megatron.bridge.release.cli.export", "torch.distributed.run", "transformers.models.llama.modeling_llama"),
)
_PLAIN = ("stand_ins", *_BARE)
_GPT_MODEL = "megatron.core.models.gpt.gpt_model"
_ENTRY = (
    *("megatron.core.models.common.language_module.language_module", "megatron.core.datasets.gpt_dataset"),
    *("megatron.core.extensions.transformer_engine", "torch._dynamo", "transformers.modeling_utils", "datasets"),
)
_CPU = ("megatron.training.training", "pretrain_gpt", "model_record", "transformers")


@contextmanager
def start(folder: Path) -> Iterator[None]:
    """Offer the programs in a directory to this process's children, for as long as the context lasts."""
    for name in NAMES:
        (folder / name).write_text(f"#!{sys.executable} -IS\n{(SUPPORT / 'warm_program.py').read_text()}")
        (folder / name).chmod(0o755)
    plain = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    plain.pop("PYTHONPATH", None)
    cpu = plain | {"PYTHONPATH": f"{SUPPORT / 'cpu_site'}:{SUPPORT}", "MEGATRON_LM_ON_CPU": "1", "LOCAL_RANK": "0"}
    processes = [
        _start(folder / f"{name}.socket", modules, environment)
        for name, modules, environment in (
            ("plain", _PLAIN, plain),
            ("bare", _BARE, plain),
            ("cpu", _CPU, cpu),
            ("entry", _ENTRY, cpu),
        )
    ]
    os.environ[WARM] = str(folder)
    try:
        yield
    finally:
        del os.environ[WARM]
        for process in processes:
            process.stdin.close()
        for process in processes:
            process.wait()


def _start(address: Path, modules: tuple[str, ...], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a process that listens, and ends with its standard input."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(address))
        server.listen(64)
        return subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__, str(server.fileno()), *modules],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[server.fileno()],
        )


def _serve(listening: int, modules: list[str]) -> None:
    """Fork for each request, and run its program in the fork."""
    with socket.socket(fileno=listening) as server:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        imported = False
        while True:
            ready, _, _ = select.select([server, sys.stdin], [], [])
            if sys.stdin in ready:
                os._exit(0)
            connection, _ = server.accept()
            if not imported:
                for name in modules:
                    importlib.import_module(name)
                # A fork copies what a collection touches.
                gc.freeze()
                imported = True
            if not os.fork():
                break
            connection.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    request, files = _receive(connection)
    process = os.fork()
    if process:
        _watch(connection, process)
    connection.close()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _become(request, files)
    _end(_run(request["words"]))


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Read a request: its size with the standard files, then JSON."""
    size, files, *_ = socket.recv_fds(connection, 8, 3)
    text = b""
    while len(text) < int.from_bytes(size):
        text += connection.recv(1 << 16)
    return json.loads(text), files


def _watch(connection: socket.socket, process: int) -> None:
    """Send the process ID and the exit status. Kill the process if the client is gone."""
    connection.sendall(process.to_bytes(8))
    ended = os.pidfd_open(process)
    ready, _, _ = select.select([ended, connection], [], [])
    if ended not in ready:
        os.kill(process, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    try:
        connection.sendall(status.to_bytes(8, signed=True))
    except BrokenPipeError:
        pass
    os._exit(0)


def _become(request: dict[str, Any], files: list[int]) -> None:
    """Take over what a process has from its parent."""
    for to, file in enumerate(files):
        os.dup2(file, to)
        os.close(file)
    for to in request["closed"]:
        os.close(to)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["directory"])
    os.umask(request["umask"])
    # What it spawns looks for its script from there.
    multiprocessing.process.ORIGINAL_DIR = request["directory"]
    # What it starts is one of these programs, too.
    sys.executable = python()
    threads = int(os.environ.get("OMP_NUM_THREADS", len(os.sched_getaffinity(0))))
    # Once the number is set, the threads of a process that this one forks may race for torch's thread pool.
    if "torch" in sys.modules and sys.modules["torch"].get_num_threads() != threads:
        sys.modules["torch"].set_num_threads(threads)
    if "MEGATRON_LM_ON_CPU" in os.environ and "LOCAL_RANK" in os.environ:
        # As `cpu_site` does when Python starts.
        os.environ["TORCHDYNAMO_DISABLE"] = "1"
        if "MODEL_RECORD" in os.environ:
            importlib.import_module("model_record").install(os.environ["MODEL_RECORD"])
    if {"HF_ENDPOINT", "HF_HUB_CACHE"} <= os.environ.keys() and "huggingface_hub" in sys.modules:
        importlib.import_module("hub_server").apply_environment()
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(":") if path]
    sys.path[:] = [*paths, *(path for path in _PATH if path not in (str(SUPPORT), str(SUPPORT / "cpu_site")))]


def _end(status: int) -> NoReturn:
    """End as Python does, but leave what was imported to the kernel: to take it apart takes seconds."""
    threading._shutdown()
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        status = 120
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def _run(words: list[str]) -> int:
    """Run a program, and return its status as Python does; below 0, the signal that ends it."""
    try:
        _call(words)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return (end.code or 0) & 0xFF
        print(end.code, file=sys.stderr)
        return 1
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        return -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    return 0


def _call(words: list[str]) -> None:
    """Run a program as the command line of Python says."""
    name, words = Path(words[0]).name, words[1:]
    if name == "torchrun":
        words = ["-m", "torch.distributed.run", *words]
    elif name == "megatron-bridge-release":
        words = ["-m", "megatron.bridge.release", *words]
    known = words[0] in ("-W", "-u", "-m", "-c", "-") or not words[0].startswith("-")
    is_entry_point = "-m" in words[:2] and _ENTRY_POINT in words[:3]
    if not known or is_entry_point and _GPT_MODEL in sys.modules:
        os.execv(_PYTHON, [_PYTHON, *words])
    while words[0] in ("-W", "-u"):
        if words.pop(0) == "-u":
            sys.stdout.reconfigure(write_through=True)
        else:
            warnings.simplefilter(words.pop(0))
    what, *words = words
    if what == "-m":
        sys.path.insert(0, os.getcwd())
        module, *words = words
        sys.argv = ["-m", *words]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    elif what in ("-c", "-"):
        sys.path.insert(0, "")
        code, words = (words[0], words[1:]) if what == "-c" else (sys.stdin.read(), words)
        sys.argv = [what, *words]
        main = type(sys)("__main__")
        sys.modules["__main__"] = main
        exec(compile(code, "<string>", "exec"), main.__dict__)
    else:
        sys.path.insert(0, str(Path(what).resolve().parent))
        sys.argv = [what, *words]
        runpy.run_path(what, run_name="__main__")


if __name__ == "__main__":
    _PATH, _PYTHON = sys.path[:], sys.executable
    _serve(int(sys.argv[1]), sys.argv[2:])
