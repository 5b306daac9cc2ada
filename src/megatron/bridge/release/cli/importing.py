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

"""``import``: makes a release of a Hugging Face model, and sees that it is one."""

import argparse
import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from megatron.bridge.release.checkpoint_dir import read_checkpoint_dir
from megatron.bridge.release.cli.check import json_values, run_logit_check
from megatron.bridge.release.cli.output import print_release
from megatron.bridge.release.cli.quiet import capture_library_output, show_progress, show_release_warnings
from megatron.bridge.release.errors import command_line
from megatron.bridge.release.layout import RELEASE, STAGING_PREFIX
from megatron.bridge.release.source.model_dir import check_free_space, inspect_model
from megatron.bridge.release.source.provenance import SourceModel
from megatron.bridge.release.source.safetensors_index import read_index, require_matches
from megatron.bridge.release.validation.output_dir import check_root, destination, refuse_checkpoint
from megatron.bridge.release.verify.check import check


def run_import(options: argparse.Namespace) -> int:
    """Import the model; on rank 0, check the release, compute with it, and print what there is."""
    if int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1 and "RANK" not in os.environ:
        if os.environ.get("SLURM_PROCID", "0") != "0":
            return 1
        raise ValueError(
            f"srun has started {os.environ['SLURM_STEP_NUM_TASKS']} tasks, and each would import the whole model. Start one "
            "task a node, with torchrun in it, as examples/import.sbatch does; or a single task: srun --ntasks 1."
        )
    first = int(os.environ.get("RANK", "0")) == 0
    if not (sys.stderr.isatty() and first):
        # huggingface_hub reads it when it is imported.
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    out = Path(destination(options.out, True, options.overwrite))
    # Several ranks check together, in import_ckpt: one that ended here would leave the others waiting.
    is_alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
    downloaded = is_alone and _check_early(options, out).commit is not None
    with capture_library_output(verbose=options.verbose) as (stdout, err):
        if first:
            print(f"Importing {options.hf_model} into {out}", file=err)
        seconds = _import(options, out, err, downloaded=downloaded)
        if not first:
            return 0
        size = sum(path.stat().st_size for path in (out / RELEASE).rglob("*") if path.is_file())
        print(f"Wrote {tqdm.format_sizeof(size, 'B')} in {seconds:.0f} s; reading it again", file=err)
        comparison = None
        try:
            with show_progress(err):
                report = check(out)
                if not options.no_logit_check:
                    comparison = run_logit_check(report, options.hf_model)
        except KeyboardInterrupt:
            message = f"interrupted after the import: {out} holds the release, not yet read again"
            raise KeyboardInterrupt(f"{message}. {command_line('check', out)}") from None
        if options.json:
            print(json.dumps(json_values(report, comparison), indent=2), file=stdout)
        else:
            if comparison is not None and comparison.skipped is not None:
                report.notes.append(comparison)
            print_release(report, stdout)
    return 0 if report.passed else 1


def _check_early(options: argparse.Namespace, out: Path) -> SourceModel:
    """Check what can be checked without torch, whose import takes seconds, and download the model. Raise ValueError."""
    check_root(out)
    if out.is_dir():
        root = read_checkpoint_dir(out)
        # What died before there was a tracker has left no checkpoint; the import clears it.
        if root.tracker is not None or not any(name.startswith(STAGING_PREFIX) for name in root.leftovers):
            folders = [name for name in (*root.checkpoints, *root.empty) if "/" not in name]
            tracked = None if root.tracker is None else root.tracker.strip()
            refuse_checkpoint(out, sorted(folders), tracked, root.has_train_state, options.overwrite)
    model, _ = inspect_model(options.hf_model, {"revision": options.revision})
    require_matches(options.allow_unused_tensors, read_index(model.folder))
    check_free_space(out, model.folder)
    return model


def _import(options: argparse.Namespace, out: Path, err: TextIO, *, downloaded: bool) -> float:
    """Import the model, and return how many seconds it took from the end of the Python imports."""
    # Nothing becomes garbage while modules are imported; to look for it takes a second.
    gc.disable()
    import torch
    import torch.distributed as dist
    from transformers.utils import logging as transformers_logging

    from megatron.bridge import AutoBridge  # type: ignore[attr-defined,unused-ignore]

    gc.enable()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call,unused-ignore]
    keywords: dict[str, Any] = {} if options.dtype is None else {"dtype": getattr(torch, options.dtype)}
    if options.revision is not None:
        keywords["revision"] = options.revision
    if downloaded:
        keywords["local_files_only"] = True
    start = time.monotonic()
    with show_release_warnings(err), show_progress(err):
        AutoBridge.import_ckpt(
            options.hf_model,
            out,
            release=True,
            overwrite=options.overwrite,
            allow_unused_tensors=options.allow_unused_tensors,
            allow_config_fields=options.allow_config_fields,
            trust_remote_code=options.trust_remote_code,
            **keywords,
        )
    if dist.is_initialized():
        dist.destroy_process_group()
    return time.monotonic() - start
