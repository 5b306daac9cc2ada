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

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TextIO


@contextmanager
def own_words(*, verbose: bool) -> Iterator[tuple[TextIO, TextIO]]:
    """Keep what libraries print out of a user's sight.

    Args:
        verbose: Whether to show it on stderr after all.

    Yields:
        The user's stdout and stderr, which libraries do not write to.
    """
    out, err = _apart(sys.stdout, 1), _apart(sys.stderr, 2)
    kept = os.dup(1), os.dup(2)
    others = os.dup(2) if verbose else os.open(os.devnull, os.O_WRONLY)
    try:
        # It is never closed: the libraries' log handlers keep it.
        sink = os.fdopen(os.dup(others), "w", buffering=1, errors="replace")
        with redirect_stdout(sink), redirect_stderr(sink), warnings.catch_warnings():
            for descriptor in (1, 2):
                os.dup2(others, descriptor)
            logging.basicConfig(format="%(name)s: %(message)s", stream=sink)
            yield out, err
    finally:
        for descriptor, was in zip((1, 2), kept):
            os.dup2(was, descriptor)
            os.close(was)
        os.close(others)


@contextmanager
def release_warnings(err: TextIO) -> Iterator[None]:
    """Show the warnings that tell of a release, a line each, and those that its modules log; others go to stderr.

    Args:
        err: Where to show them: the user's stderr.
    """
    from megatron.bridge.training.release.notices import ReleaseWarning

    others = sys.stderr

    def show(message: Warning | str, category: type[Warning], name: str, line: int, *_: object, **__: object) -> None:
        if issubclass(category, ReleaseWarning):
            print(f"warning: {message}", file=err)
        else:
            print(warnings.formatwarning(message, category, name, line), end="", file=others)

    handler = logging.StreamHandler(err)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("warning: %(message)s"))
    logger = logging.getLogger("megatron.bridge.training.release")
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
