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

"""``repair`` and ``revert``: turn what is there into a release, and back."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from megatron.bridge.release.cli.quiet import capture_library_output


def run_repair(options: argparse.Namespace) -> int:
    """Repair a root, and print the steps."""
    from megatron.bridge.release.repair.run import repair

    return _run(options, repair)


def run_revert(options: argparse.Namespace) -> int:
    """Give a release upstream's layout back, and print the steps."""
    from megatron.bridge.release.repair.run import revert

    return _run(options, revert)


def _run(options: argparse.Namespace, work: Callable[..., list[str]]) -> int:
    with capture_library_output(verbose=options.verbose) as (out, _):
        steps = work(Path(options.path), dry_run=options.dry_run)
        if options.json:
            print(
                json.dumps({"root": str(options.path), "steps": steps, "done": not options.dry_run}, indent=2),
                file=out,
            )
        else:
            print("\n".join(steps or ["nothing to do"]), file=out)
    return 0
