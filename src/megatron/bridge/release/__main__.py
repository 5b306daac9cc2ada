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

"""``python -m megatron.bridge.release``, which is also the command ``megatron-bridge-release``."""

import json
import os
import signal
import sys

from megatron.bridge.release.cli.parser import make_parser, parse
from megatron.bridge.release.errors import Message, join_sentences, one_line, shell_option


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Words of the command line; those of the process if None.

    Returns:
        The exit status: 0 if the work is done and the checkpoint loads; 1 if not; 3 if the checkpoint loads, but this
        host cannot compute what was to be proven; 130 if it was interrupted; 141 if nobody reads
        the output to its end.

    Raises:
        SystemExit: If the command line is wrong, with the status 2, or asks for help.
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
        # Whoever reads the output has enough of it; what is left in the buffer has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 128 + signal.SIGPIPE
    except Exception as error:
        # The libraries raise many kinds for a model that they cannot read.
        if options.verbose:
            import traceback

            traceback.print_exc()
        expected = isinstance(error, (AssertionError, ValueError, RuntimeError, OSError)) and str(error)
        said = error.text(shell_option) if isinstance(error, Message) else str(error)
        text = " ".join(said.split()) if expected else one_line(error)
        message, status = join_sentences(text, *getattr(error, "__notes__", [])), 1
    print(f"error: {message}", file=sys.stderr)
    try:
        if options.json:
            print(json.dumps({"error": message}, indent=2))
        sys.stdout.flush()
    except OSError:
        # The output is where the error comes from, such as a full disk; Python would try it again when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return status


def _open_closed_streams() -> None:
    """Let streams that whoever started this has closed lead nowhere, before a file takes their numbers."""
    for descriptor, (name, mode) in enumerate({"stdin": "r", "stdout": "w", "stderr": "w"}.items()):
        try:
            os.fstat(descriptor)
        except OSError:
            # It gets the lowest number that is free.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, mode))


if __name__ == "__main__":
    sys.exit(main())
