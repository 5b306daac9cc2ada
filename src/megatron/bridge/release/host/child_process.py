# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Runs a function in a child process with the stand-ins, if Megatron Core was imported without them.

The child process has the error, the warnings, the progress and the interrupts of the function, as if it ran in this process.

    python -m megatron.bridge.release.host.child_process

has a socket for its standard input, through which it receives the function and sends the outcome.
"""

import os
import signal
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from megatron.bridge.release.errors import Message, ReleaseWarning
from megatron.bridge.release.host.errors import ChildProcessEndedError
from megatron.bridge.release.host.stand_in import DEVICES, activate_stand_ins


T = TypeVar("T")

# Variables of torchrun. The child process is not one of the ranks.
_RANK_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "TORCHELASTIC_")


def run_in_child(function: Callable[..., T], *args: Any, **keywords: Any) -> T:
    """Call a function in a child process of rank 0, and return its result on every rank. Collective, without a timeout.

    Args:
        function: A function of a module. Its arguments, its result and its errors are pickled.

    Raises:
        BaseException: What the function raises.
        ChildProcessEndedError: If the process ended before it was done, such as without memory.
    """
    # Imported here because it loads torch.
    from megatron.bridge.training.utils.collectives import on_rank_0

    return on_rank_0(lambda: _run(function, args, keywords))


def _run(function: Callable[..., T], args: tuple[Any, ...], keywords: dict[str, Any]) -> T:
    ours, theirs = Pipe()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_RANK_VARIABLES)}
    # It finds the modules of this process, and not those of the current directory.
    environment |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONSAFEPATH": "1"}
    # Without a GPU, its stand-ins take the place of packages that work with one.
    environment |= dict.fromkeys(DEVICES, "")
    # In a process group of its own, it gets an interrupt from the terminal once: from here.
    with (
        ours,
        subprocess.Popen(
            [sys.executable, "-m", __name__], env=environment, stdin=theirs.fileno(), process_group=0
        ) as process,
    ):
        theirs.close()
        try:
            ours.send((function, args, keywords))
            kind, value = _outcome(ours, process)
        except BaseException as error:
            # It cleans up, and has its own words for an interrupt unless it had just finished.
            process.send_signal(signal.SIGINT)
            with suppress(ChildProcessEndedError):
                kind, value = _outcome(ours, process)
                if kind == "error" and isinstance(value, KeyboardInterrupt) and isinstance(error, KeyboardInterrupt):
                    raise value from None
            raise
    if kind == "error":
        raise value
    result: T = value
    return result


def _outcome(connection: Connection, process: subprocess.Popen[bytes]) -> tuple[str, Any]:
    """Issue the warnings of a child process, and return its outcome."""
    while True:
        try:
            kind, value = connection.recv()
        except (EOFError, ConnectionError):
            raise ChildProcessEndedError(process.wait()) from None
        if kind != "warning":
            return kind, value
        warnings.warn(value, stacklevel=4)


def _main(connection: Connection) -> None:
    """Call the function that the parent process sends, and send the outcome."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    # Python does not install it if the parent process ignores the signal.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    show = warnings.showwarning

    def send_or_show(message: Warning | str, *args: Any, **keywords: Any) -> None:
        if isinstance(message, ReleaseWarning):
            connection.send(("warning", message))
        else:
            show(message, *args, **keywords)

    warnings.showwarning = send_or_show
    try:
        activate_stand_ins()
        with warnings.catch_warnings():
            # This imports what the parent process has imported, and has warned of.
            warnings.simplefilter("ignore")
            function, args, keywords = connection.recv()
        warnings.simplefilter("always", ReleaseWarning)
        threading.Thread(target=_end_with_parent, args=[connection], daemon=True).start()
        outcome: tuple[str, Any] = "result", function(*args, **keywords)
    except BaseException as error:
        from megatron.bridge.training.utils.collectives import picklable_error

        outcome = "error", picklable_error(error)
        if not isinstance(error, (Message, KeyboardInterrupt)):
            outcome[1].add_note("".join(traceback.format_exception(error)))
    # Nothing is left to interrupt.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(ConnectionError):
        connection.send(outcome)


def _end_with_parent(connection: Connection) -> None:
    """Interrupt this process when the parent process ends."""
    try:
        connection.recv_bytes()
    except (EOFError, ConnectionError):
        os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    _main(Connection(os.dup(0)))
