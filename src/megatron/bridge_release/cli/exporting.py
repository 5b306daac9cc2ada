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

"""``export``: writes what a root holds as a Hugging Face model."""

import argparse
import json
import os
from pathlib import Path

from tqdm import tqdm

from megatron.bridge_release.checking import check
from megatron.bridge_release.cli.own_words import own_words, progress
from megatron.bridge_release.destination import check_root
from megatron.bridge_release.errors import in_one_line
from megatron.bridge_release.export_folder import check_empty
from megatron.bridge_release.layout import RELEASE
from megatron.bridge_release.model_folder import check_outside, look_at_model
from megatron.bridge_release.report import BRIDGE
from megatron.bridge_release.root import read_root
from megatron.bridge_release.source import require_source


def run_export(options: argparse.Namespace) -> int:
    """Export the checkpoint that the tracker of the root names, and say which it was."""
    _refuse_early(options)
    report = check(options.path)
    (reader,) = (reader for reader in report.readers if reader.name == BRIDGE)
    if report.folder is None or not reader.loads:
        raise ValueError(reader.why)
    checkpoint = report.folder
    with own_words(verbose=options.verbose) as (stdout, err):
        print(f"Exporting {options.path / checkpoint} to {options.out}", file=err)
        with progress(err):
            _export(options, options.path / checkpoint, err.isatty())
        files = _sizes(options.out)
        if options.json:
            values = {"root": str(options.path), "checkpoint": checkpoint, "out": str(options.out), "files": files}
            print(json.dumps(values, indent=2), file=stdout)
        else:
            print(
                f"{options.out} has the checkpoint {checkpoint}, {tqdm.format_sizeof(sum(files.values()), 'B')} in "
                f"{len(files)} files",
                file=stdout,
            )
    return 0


def _refuse_early(options: argparse.Namespace) -> None:
    """Refuse what can be seen at once. Raise ValueError."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("An export runs in one process. Start it without torchrun.")
    model, config = look_at_model(options.hf_model)
    check_root(options.out)
    if config is not None:
        check_outside(options.out, Path(model))
    if RELEASE in read_root(options.path).checkpoints:
        require_source(options.path, options.hf_model)
    check_empty(options.out)


def _export(options: argparse.Namespace, checkpoint: Path, show_progress: bool) -> None:
    from torch.distributed.checkpoint.api import CheckpointException

    from megatron.bridge import AutoBridge

    bridge = AutoBridge.from_hf_pretrained(options.hf_model, trust_remote_code=options.trust_remote_code)
    try:
        bridge.export_ckpt(checkpoint, options.out, show_progress=show_progress)
    except CheckpointException as error:
        # It is no Exception, and has the causes of all ranks, of which there is one.
        (cause,) = (cause for cause, _ in error.failures.values())
        raise ValueError(f"{options.path} cannot be read ({in_one_line(cause)}).") from error


def _sizes(folder: Path) -> dict[str, int]:
    """Return the sizes of the files in a folder and below it, by their paths in it."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in paths}
