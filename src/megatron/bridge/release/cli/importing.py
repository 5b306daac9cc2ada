# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""``import``: imports a Hugging Face model as a release, and checks the release."""

import argparse
import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from megatron.bridge.release.cli.check import json_values, run_logit_check
from megatron.bridge.release.cli.output import print_release
from megatron.bridge.release.cli.quiet import capture_library_output, show_progress, show_release_warnings
from megatron.bridge.release.errors import command_line
from megatron.bridge.release.layout import RELEASE
from megatron.bridge.release.validation.errors import SeveralTasksError
from megatron.bridge.release.validation.output_dir import expand_output_dir
from megatron.bridge.release.validation.preflight import ImportInput, check_input
from megatron.bridge.release.verify.check import check


def run_import(options: argparse.Namespace) -> int:
    """Import the model. On rank 0, check the release, compare logits, and print the result."""
    if int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1 and "RANK" not in os.environ:
        if os.environ.get("SLURM_PROCID", "0") != "0":
            return 1
        raise SeveralTasksError(int(os.environ["SLURM_STEP_NUM_TASKS"]))
    first = int(os.environ.get("RANK", "0")) == 0
    if not (sys.stderr.isatty() and first):
        # huggingface_hub reads the variable when it is imported.
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    keywords: dict[str, Any] = {"trust_remote_code": options.trust_remote_code}
    keywords |= {} if options.revision is None else {"revision": options.revision}
    out, checked = Path(expand_output_dir(options.out)), None
    # Several ranks check together, after the slow Python imports: one that ended here would leave the others waiting.
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        checked = check_input(
            options.hf_model,
            out,
            overwrite=options.overwrite,
            allow_unused_tensors=options.allow_unused_tensors,
            keywords=keywords,
        )
    with capture_library_output(verbose=options.verbose) as (stdout, err):
        if first:
            print(f"Importing {options.hf_model} into {out}", file=err)
        seconds = _import(options, keywords, out, checked, err)
        if not first:
            return 0
        size = sum(path.stat().st_size for path in (out / RELEASE).rglob("*") if path.is_file())
        print(f"Wrote {tqdm.format_sizeof(size, 'B')} in {seconds:.0f} s. Verifying ...", file=err)
        comparison = None
        try:
            with show_progress(err):
                report = check(out)
                if not options.no_logit_check:
                    comparison = run_logit_check(report, options.hf_model)
        except KeyboardInterrupt:
            message = f"interrupted during the verification. The release in {out} is complete; to verify it, run"
            raise KeyboardInterrupt(f"{message}: {command_line('check', out)}") from None
        if options.json:
            print(json.dumps(json_values(report, comparison), indent=2), file=stdout)
        else:
            if comparison is not None and comparison.skipped is not None:
                report.notes.append(comparison)
            print_release(report, stdout)
    return 0 if report.passed else 1


def _import(
    options: argparse.Namespace, keywords: dict[str, Any], out: Path, checked: ImportInput | None, err: TextIO
) -> float:
    """Import the model, and return how many seconds it took from the end of the Python imports."""
    # Imports create no garbage, and looking for it takes a second.
    gc.disable()
    import torch

    from megatron.bridge.release.host.stand_in import activate_stand_ins

    activate_stand_ins()
    import torch.distributed as dist
    from megatron.core import parallel_state
    from transformers.utils import logging as transformers_logging

    from megatron.bridge import AutoBridge  # type: ignore[attr-defined,unused-ignore]
    from megatron.bridge.release.write.run import import_model

    gc.enable()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call,unused-ignore]
    if options.dtype is not None:
        keywords["dtype"] = getattr(torch, options.dtype)
    start = time.monotonic()
    with show_release_warnings(err), show_progress(err):
        import_model(
            AutoBridge,
            options.hf_model,
            out,
            overwrite=options.overwrite,
            allow_unused_tensors=options.allow_unused_tensors,
            allow_config_fields=options.allow_config_fields,
            keywords=keywords,
            checked=checked,
        )
    if dist.is_initialized():
        # Its groups end with the process group. The logit check makes new ones.
        parallel_state.destroy_model_parallel()
        dist.destroy_process_group()
    return time.monotonic() - start
