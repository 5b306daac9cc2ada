# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Redirects the output of libraries, including what C++ writes to descriptors 1 and 2, away from the terminal."""

import io
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import BinaryIO, TextIO

from megatron.bridge.release.errors import Message, ReleaseWarning, shell_option


class _Sink(io.TextIOBase):
    """A stream that libraries may keep: it writes to a file while their output is captured, and to stderr afterwards."""

    def __init__(self, file: TextIO) -> None:
        self.target = file

    def write(self, text: str) -> int:
        # A full disk must not stop the work because of a log.
        with suppress(OSError):
            self.target.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self.target.flush()

    def fileno(self) -> int:
        return self.target.fileno()

    @property
    def buffer(self) -> BinaryIO:
        """The stream of bytes."""
        return self.target.buffer


@contextmanager
def capture_library_output(*, verbose: bool) -> Iterator[tuple[TextIO, TextIO]]:
    """Write the output of libraries to a log file, whose path is added to unexpected errors.

    Args:
        verbose: Whether to show it on stderr instead.

    Yields:
        The stdout and stderr of the command, which libraries do not write to.
    """
    stdout, stderr = sys.stdout, sys.stderr
    out, err = _duplicate(stdout, 1), _duplicate(stderr, 2)
    saved = os.dup(1), os.dup(2)
    descriptor, log = (os.dup(2), None) if verbose else _open_log()
    file = os.fdopen(descriptor, "w", buffering=1, errors="replace")
    sink = _Sink(file)
    handler = logging.StreamHandler(sink)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    root_handlers = logging.root.handlers
    try:
        if not root_handlers:
            logging.root.addHandler(handler)
        with redirect_stdout(sink), redirect_stderr(sink), warnings.catch_warnings():
            for standard in (1, 2):
                os.dup2(descriptor, standard)
            yield out, err
    except BaseException as error:
        if log is not None and not isinstance(error, (ValueError, OSError, KeyboardInterrupt, SystemExit)):
            error.add_note(f"The output of the libraries is in {log}")
            log = None
        raise
    finally:
        for standard, original in zip((1, 2), saved):
            os.dup2(original, standard)
            os.close(original)
        logging.root.removeHandler(handler)
        sink.target = stderr
        for stream, source in ((file, None), (out, stdout), (err, stderr)):
            if stream is not source:
                with suppress(OSError):
                    stream.close()
        if log is not None:
            os.unlink(log)


def _open_log() -> tuple[int, str | None]:
    """Create the log file; return its descriptor and its path, which is None if no temporary directory is writable."""
    try:
        return tempfile.mkstemp(prefix="megatron-bridge-release-", suffix=".log")
    except OSError:
        return os.open(os.devnull, os.O_WRONLY), None


@contextmanager
def show_release_warnings(err: TextIO) -> Iterator[None]:
    """Show release warnings and what the package logs, a line each; other warnings go to the current stderr.

    Args:
        err: The stderr of the command.
    """
    library_stderr = sys.stderr

    def show(message: Warning | str, category: type[Warning], name: str, line: int, *_: object, **__: object) -> None:
        if issubclass(category, ReleaseWarning):
            text = message.text(shell_option) if isinstance(message, Message) else message
            print(f"warning: {text}", file=err)
        else:
            print(warnings.formatwarning(message, category, name, line), end="", file=library_stderr)

    handler = logging.StreamHandler(err)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("warning: %(message)s"))
    logger = logging.getLogger("megatron.bridge.release")
    logger.addHandler(handler)
    with warnings.catch_warnings():
        warnings.simplefilter("always", ReleaseWarning)
        warnings.showwarning = show  # type: ignore[assignment]
        try:
            yield
        finally:
            logger.removeHandler(handler)


@contextmanager
def show_progress(err: TextIO) -> Iterator[None]:
    """Show progress bars on a terminal. tqdm writes to the stderr that is current when a bar starts.

    Args:
        err: The stderr of the command.
    """
    if err.isatty():
        with redirect_stderr(err):
            yield
    else:
        yield


def _duplicate(stream: TextIO, descriptor: int) -> TextIO:
    """Return a stream that keeps writing to the target of another one after its descriptor is redirected."""
    stream.flush()
    try:
        if stream.fileno() != descriptor:
            return stream
    except OSError:
        # A stream in memory has no descriptor.
        return stream
    return os.fdopen(os.dup(descriptor), "w", buffering=1, encoding=stream.encoding, errors=stream.errors)
