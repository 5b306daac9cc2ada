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

"""Keeps what other libraries print out of a user's sight, down to what C++ writes to the file descriptors."""

import io
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import BinaryIO, TextIO


class _Sink(io.TextIOBase):
    """A stream that libraries may keep: while their output is collected it goes to a file, and then to stderr again."""

    def __init__(self, file: TextIO) -> None:
        self.target = file

    def write(self, text: str) -> int:
        # A full disk that has no room for a log is no error of the work.
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
    """Keep what libraries print out of a user's sight: in a file, which an unexpected error names.

    Args:
        verbose: Whether to show it on stderr instead.

    Yields:
        The user's stdout and stderr, which libraries do not write to.
    """
    stdout, stderr = sys.stdout, sys.stderr
    out, err = _apart(stdout, 1), _apart(stderr, 2)
    kept = os.dup(1), os.dup(2)
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
        for standard, was in zip((1, 2), kept):
            os.dup2(was, standard)
            os.close(was)
        logging.root.removeHandler(handler)
        sink.target = stderr
        for stream, original in ((file, None), (out, stdout), (err, stderr)):
            if stream is not original:
                with suppress(OSError):
                    stream.close()
        if log is not None:
            os.unlink(log)


def _open_log() -> tuple[int, str | None]:
    """Open a file for what libraries print; return its descriptor and its path, None if no folder takes one."""
    try:
        return tempfile.mkstemp(prefix="megatron-bridge-release-", suffix=".log")
    except OSError:
        return os.open(os.devnull, os.O_WRONLY), None


@contextmanager
def show_release_warnings(err: TextIO) -> Iterator[None]:
    """Show the warnings that tell of a release, a line each, and those that its modules log; others go to stderr.

    Args:
        err: Where to show them: the user's stderr.
    """
    from megatron.bridge.release.errors import ReleaseWarning

    others = sys.stderr

    def show(message: Warning | str, category: type[Warning], name: str, line: int, *_: object, **__: object) -> None:
        if issubclass(category, ReleaseWarning):
            print(f"warning: {message}", file=err)
        else:
            print(warnings.formatwarning(message, category, name, line), end="", file=others)

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
def progress(err: TextIO) -> Iterator[None]:
    """Let a terminal show progress bars: they go to whatever is stderr when they begin.

    Args:
        err: The user's stderr.
    """
    if err.isatty():
        with redirect_stderr(err):
            yield
    else:
        yield


def _apart(stream: TextIO, descriptor: int) -> TextIO:
    """Return a stream that goes on to where another goes, when its descriptor goes elsewhere."""
    stream.flush()
    try:
        if stream.fileno() != descriptor:
            return stream
    except OSError:
        # It is in memory.
        return stream
    return os.fdopen(os.dup(descriptor), "w", buffering=1, encoding=stream.encoding, errors=stream.errors)
