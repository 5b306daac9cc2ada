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
import shutil
import tempfile
from pathlib import Path

from tqdm import tqdm

from megatron.bridge_release.checking import check
from megatron.bridge_release.cli.own_words import own_words, progress
from megatron.bridge_release.destination import check_root
from megatron.bridge_release.errors import in_one_line
from megatron.bridge_release.layout import RELEASE
from megatron.bridge_release.model_folder import check_outside, look_at_model
from megatron.bridge_release.report import BRIDGE
from megatron.bridge_release.root import read_root
from megatron.bridge_release.source import recorded_revision, require_source
from megatron.bridge_release.source_model import SourceModel


def run_export(options: argparse.Namespace) -> int:
    """Export the checkpoint that the tracker of the root names, and say which it was."""
    source = _refuse_early(options)
    report = check(options.path)
    (reader,) = (reader for reader in report.readers if reader.name == BRIDGE)
    if report.folder is None or not reader.loads:
        raise ValueError(reader.why)
    checkpoint, out = report.folder, options.out.absolute()
    with own_words(verbose=options.verbose) as (stdout, err):
        print(f"Exporting {options.path / checkpoint} to {options.out}", file=err)
        # Beside the folder that it becomes when it is complete.
        out.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        try:
            with progress(err):
                _export(options, source, staging, err.isatty())
            # safetensors' files and a temporary folder are their owner's alone.
            mask = _umask()
            for file in staging.iterdir():
                file.chmod((0o777 if file.is_dir() else 0o666) & ~mask)
            staging.chmod(out.stat().st_mode if out.exists() else 0o777 & ~mask)
            staging.rename(out)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        files = {path.name: path.stat().st_size for path in sorted(out.iterdir())}
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


def _refuse_early(options: argparse.Namespace) -> SourceModel:
    """Refuse what can be seen at once, and find the source model, at the commit that the release records. Raise ValueError."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("An export runs in one process. Start it without torchrun.")
    check_root(options.out)
    if options.out.exists() and any(options.out.iterdir()):
        raise ValueError(f"{options.out} holds something already. Give a folder that is not there, or an empty one.")
    revision = options.revision or recorded_revision(options.path, options.hf_model)
    model, _ = look_at_model(options.hf_model, {"revision": revision})
    check_outside(options.out, model.folder)
    if RELEASE in read_root(options.path).checkpoints:
        require_source(options.path, model)
    return model


def _export(options: argparse.Namespace, source: SourceModel, out: Path, show_progress: bool) -> None:
    from torch.distributed.checkpoint.api import CheckpointException

    from megatron.bridge import AutoBridge

    bridge = AutoBridge.from_hf_pretrained(source.folder, trust_remote_code=options.trust_remote_code)
    try:
        bridge.export_ckpt(options.path, out, show_progress=show_progress)
    except CheckpointException as error:
        # It is no Exception, and has the causes of all ranks, of which there is one.
        (cause,) = (cause for cause, _ in error.failures.values())
        raise ValueError(f"{options.path} cannot be read ({in_one_line(cause)}).") from error


def _umask() -> int:
    """Return the process's umask, which can be read only by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
