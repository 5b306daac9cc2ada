# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""``python -m megatron.bridge.release``, which is also the command ``megatron-bridge-release``."""

import json
import os
import signal
import sys

from megatron.bridge.release.cli.parser import make_parser, parse
from megatron.bridge.release.errors import Message, join_sentences, one_line, shell_option


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, and return the exit status (see ``--help``).

    Args:
        arguments: Arguments; those of the process if None.

    Raises:
        SystemExit: With status 2 if the command line is invalid, with status 0 for ``--help``.
    """
    _open_closed_streams()
    parser = make_parser()
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)
    options = parse(parser, arguments)
    try:
        status = int(options.run(options))
        sys.stdout.flush()
        return status
    except KeyboardInterrupt as interrupt:
        message, status = str(interrupt) or "interrupted", 130
    except BrokenPipeError:
        # The reader has closed the pipe: discard the buffered output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 128 + signal.SIGPIPE
    except Exception as error:
        # The libraries raise many types for a model that they cannot read.
        if options.verbose:
            import traceback

            traceback.print_exc()
        expected = isinstance(error, (AssertionError, ValueError, RuntimeError, OSError)) and str(error)
        text = error.text(shell_option) if isinstance(error, Message) else str(error)
        text = " ".join(text.split()) if expected else one_line(error)
        message, status = join_sentences(text, *getattr(error, "__notes__", [])), 1
    print(f"error: {message}", file=sys.stderr)
    try:
        if options.json:
            print(json.dumps({"error": message}, indent=2))
        sys.stdout.flush()
    except OSError:
        # Writing the output failed, such as on a full disk. Discard it: Python would try to write it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return status


def _open_closed_streams() -> None:
    """Open standard streams that the parent process has closed on /dev/null, before a file gets their descriptors."""
    for descriptor, (name, mode) in enumerate({"stdin": "r", "stdout": "w", "stderr": "w"}.items()):
        try:
            os.fstat(descriptor)
        except OSError:
            # open() returns the lowest free descriptor.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, mode))


if __name__ == "__main__":
    sys.exit(main())
