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

"""Asks the parser and the validation of a Megatron-LM for several command lines.

    PYTHONPATH=CHECKOUT:cpu_site MEGATRON_LM_ON_CPU=1 LOCAL_RANK=0 python parser_worker.py FLAGS.json OUT.json

FLAGS.json has a list of flags for each name; OUT.json gets the error for each, or an empty text.
"""

import io
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

from megatron.training.arguments import parse_args, validate_args


def refusal(flags: list[str]) -> str:
    """Return the error that the parser or the validation has for flags; empty if there is none."""
    said = io.StringIO()
    try:
        # Validation sets variables that its next call would take for the user's.
        with mock.patch.dict(os.environ), mock.patch.object(sys, "argv", ["pretrain_gpt.py", *flags]):
            with redirect_stderr(said), redirect_stdout(io.StringIO()):
                validate_args(parse_args())
    except SystemExit:
        return said.getvalue().strip().rpartition("\n")[2]
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def main() -> None:
    """Ask for all command lines."""
    flags = json.loads(Path(sys.argv[1]).read_text())
    Path(sys.argv[2]).write_text(json.dumps({name: refusal(words) for name, words in flags.items()}))


main()
