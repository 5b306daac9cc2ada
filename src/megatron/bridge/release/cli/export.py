# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""``export``: writes a checkpoint as a Hugging Face model."""

import argparse
import json
from pathlib import Path

from tqdm import tqdm

from megatron.bridge.release.checkpoint_dir import DirectoryId, directory_id, find_release, read_checkpoint_dir
from megatron.bridge.release.cli.quiet import capture_library_output, show_progress, show_release_warnings
from megatron.bridge.release.export.errors import NoTokenizerError, UnknownIterationError
from megatron.bridge.release.export.output_dir import check_empty, check_location, check_one_process
from megatron.bridge.release.layout import METADATA, RELEASE, iteration_directory
from megatron.bridge.release.source.model_dir import inspect_model
from megatron.bridge.release.source.model_files import TOKENIZER_FILES, find_files
from megatron.bridge.release.source.provenance import SourceModel, read_source, recorded_revision, require_source
from megatron.bridge.release.validation.output_dir import check_writable
from megatron.bridge.release.verify.check import check, check_folder
from megatron.bridge.release.verify.errors import DamagedCheckpointError
from megatron.bridge.release.verify.report import BRIDGE


def run_export(options: argparse.Namespace) -> int:
    """Export the checkpoint that the options or the tracker select, and print its name."""
    release, release_id, source, folder = _check_early(options)
    if folder is None:
        report = check(options.path, release)
    else:
        report = check_folder(read_checkpoint_dir(options.path), folder, release)
    (reader,) = (reader for reader in report.readers if reader.name == BRIDGE)
    if reader.reason is not None:
        raise DamagedCheckpointError(reader.reason)
    assert report.folder is not None
    checkpoint = report.folder
    with capture_library_output(verbose=options.verbose) as (stdout, err):
        print(f"Exporting {options.path / checkpoint} to {options.out}", file=err)
        with show_release_warnings(err), show_progress(err):
            _export(options, options.path / checkpoint, release, release_id, source, err.isatty())
        files = _sizes(options.out)
        if options.json:
            values = {"root": str(options.path), "checkpoint": checkpoint, "out": str(options.out), "files": files}
            print(json.dumps(values, indent=2), file=stdout)
        else:
            print(
                f"Exported {checkpoint} to {options.out}: {tqdm.format_sizeof(sum(files.values()), 'B')} in "
                f"{len(files)} files",
                file=stdout,
            )
    return 0


def _check_early(options: argparse.Namespace) -> tuple[Path, DirectoryId | None, SourceModel, str | None]:
    """Check the options and directories before the slow imports.

    Returns:
        The directory of the release, its identity if it was compared with the source model, that model at the commit that
        the release records, and the name of the iteration directory, if the options contain it.
    """
    check_one_process()
    check_writable(options.out)
    check_empty(options.out)
    if options.tokenizer is not None and not (
        options.tokenizer.is_dir() and find_files(options.tokenizer, TOKENIZER_FILES)
    ):
        raise NoTokenizerError(options.tokenizer, "no tokenizer files")
    root, release = read_checkpoint_dir(options.path), find_release(options.path, options.release)
    release_id = directory_id(release) if (release / METADATA).exists() else None
    revision = options.revision or recorded_revision(release.parent, options.hf_model)
    source, *_ = inspect_model(options.hf_model, {"revision": revision})
    check_location(options.out, (options.path, release), source.folder)
    if release_id is not None:
        require_source(release.parent, source)
    if options.iteration is None:
        return release, release_id, source, None
    name = RELEASE if options.iteration == RELEASE else iteration_directory(options.iteration)
    if name not in root.checkpoints:
        raise UnknownIterationError(options.path, name, root.checkpoints)
    return release, release_id, source, name


def _export(
    options: argparse.Namespace,
    checkpoint: Path,
    release: Path,
    release_id: DirectoryId | None,
    source: SourceModel,
    show_progress: bool,
) -> None:
    from megatron.bridge.release.host.stand_in import activate_stand_ins

    activate_stand_ins()
    from megatron.bridge import AutoBridge  # type: ignore[attr-defined,unused-ignore]
    from megatron.bridge.release.export.run import export_checkpoint

    bridge = AutoBridge.from_hf_pretrained(source.folder, trust_remote_code=options.trust_remote_code)
    bridge.source_model = source
    recorded = read_source(release)
    export_checkpoint(
        bridge,
        checkpoint,
        options.out,
        release=release if options.release is not None else None,
        dtype=options.dtype,
        max_shard_size=options.max_shard_size,
        tokenizer=options.tokenizer,
        rope_scaling_factor=options.rope_scaling_factor,
        # The source model has tensors that its import was allowed to skip.
        strict=recorded is None or not recorded.waived,
        show_progress=show_progress,
        release_id=release_id,
    )


def _sizes(folder: Path) -> dict[str, int]:
    """Return the sizes of all files below a directory, by relative path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in paths}
