# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""``repair``: converts an import to a release, or completes a release."""

import argparse
import json

from megatron.bridge.release.cli.quiet import capture_library_output


def run_repair(options: argparse.Namespace) -> int:
    """Repair a checkpoint directory, and print the steps."""
    from megatron.bridge.release.repair.run import repair

    with capture_library_output(verbose=options.verbose) as (out, _):
        steps = repair(options.path, dry_run=options.dry_run)
        if options.json:
            values = {"root": str(options.path), "steps": steps, "done": not options.dry_run}
            print(json.dumps(values, indent=2), file=out)
        else:
            print("\n".join(steps or ["nothing to do"]), file=out)
    return 0
