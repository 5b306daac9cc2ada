# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Exports a checkpoint as a Hugging Face model."""

import os
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from megatron.core.dist_checkpointing.core import CheckpointingException

from megatron.bridge.models.hf_pretrained.state import SafeTensorsStateSource
from megatron.bridge.release.checkpoint_dir import DirectoryId, checkpoint_dir_of, directory_id
from megatron.bridge.release.compat.bridge_api import architecture_bridge
from megatron.bridge.release.compat.torch_api import CheckpointException
from megatron.bridge.release.errors import warn
from megatron.bridge.release.export.checkpoint_tensors import DTYPES, check_tensors, reading
from megatron.bridge.release.export.errors import (
    ExportDtypeError,
    MissingTensorsError,
    MissingTensorsWarning,
    NoCheckpointError,
    NoSourceModelError,
    NotAReleaseError,
    UnsupportedExportError,
)
from megatron.bridge.release.export.model_files import copy_model_files, tokenizer_size
from megatron.bridge.release.export.output_dir import check_empty, check_free_space, check_location, file_size
from megatron.bridge.release.export.publish import FolderPublication
from megatron.bridge.release.export.trained_model import TrainedModel
from megatron.bridge.release.export.weight_shards import WeightShards
from megatron.bridge.release.host.child_process import run_in_child
from megatron.bridge.release.layout import METADATA, RELEASE, SOURCE_FILE
from megatron.bridge.release.source.errors import FileChangedError
from megatron.bridge.release.source.provenance import require_source
from megatron.bridge.release.validation.finite import check_finite
from megatron.bridge.release.validation.output_dir import check_writable
from megatron.bridge.release.validation.tensors import is_ignored
from megatron.bridge.release.write.save import exit_on_sigterm
from megatron.bridge.training.checkpointing import find_checkpoint_folder
from megatron.bridge.training.model_load_save import load_megatron_model
from megatron.bridge.training.utils.checkpoint_resolver import resolve_run_config_folder
from megatron.bridge.training.utils.collectives import on_rank_0
from megatron.bridge.utils.instantiate_utils import register_allowed_target_prefix
from megatron.bridge.utils.single_process import conversion_process_group
from megatron.bridge.utils.te_requirements import has_transformer_engine


# Size of a file if the source model has no safetensors files.
_MAX_SHARD_SIZE = "5GB"
_DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in DTYPES}


@conversion_process_group()
def export_checkpoint(
    bridge: Any,
    checkpoint: str | Path,
    out: str | Path,
    *,
    release: str | Path | None = None,
    dtype: str | torch.dtype | None = None,
    max_shard_size: int | str | None = None,
    tokenizer: str | Path | None = None,
    rope_scaling_factor: float | None = None,
    source_path: str | Path | None = None,
    strict: bool = True,
    show_progress: bool = True,
    release_id: DirectoryId | None = None,
) -> bool:
    """Export a checkpoint. Collective; rank 0 writes.

    Args:
        bridge: The `AutoBridge` of the source model.
        checkpoint: Checkpoint directory, or an iteration directory in it.
        out: Output directory. It need not exist; it may be empty, a mount point, or a symlink to one of them.
        release: Directory of the release that the training started from, if it is not next to the checkpoint.
        dtype: Dtype of the exported tensors; None for the widest of the checkpoint's weights.
        max_shard_size: Size of a weight file, in bytes or such as ``5GB``; None for the files of the source model.
        tokenizer: Directory of the tokenizer of the training, if it is not the source model's.
        rope_scaling_factor: The rope scaling factor that the training applied, if the checkpoint does not record it.
        source_path: Directory of the source model's code, if it is elsewhere.
        strict: Whether tensors of the source model that Megatron's model does not have are an error; else they are a
            warning. Tensors of Megatron's model that the checkpoint lacks are always an error.
        release_id: Identity of ``release`` when it was compared with the source model; None if it was not.

    Returns:
        Whether the iteration directory exists.

    Raises:
        ReleaseError: If the checkpoint cannot be read or exported like this, or lacks tensors, if the release was imported
            from another model or is replaced meanwhile, or if the output directory is not empty, is in a checkpoint or in
            the source model, or its filesystem is full.
        RuntimeError: If another process is writing to the output directory.
        OSError: If a file cannot be written. Then the output directory contains nothing of the export.
    """
    folder, out = find_checkpoint_folder(str(checkpoint)), Path(os.path.expanduser(out))
    target = None if dtype is None else _dtype(dtype)
    max_size = None if max_shard_size is None else file_size(max_shard_size)
    tokens = tokenizer_size(tokenizer, getattr(bridge.hf_pretrained, "trust_remote_code", False) is True)
    if rope_scaling_factor is not None:
        rope_scaling_factor = float(rope_scaling_factor)
    imported = Path(release) if release is not None else checkpoint_dir_of(Path(folder)) / RELEASE
    if release_id is None:
        release_id = directory_id(imported)
        on_rank_0(lambda: _check_release(imported, bridge, is_named=release is not None))
    if not has_transformer_engine():
        return run_in_child(
            export_checkpoint,
            bridge,
            checkpoint,
            out,
            release=release,
            dtype=dtype,
            max_shard_size=max_shard_size,
            tokenizer=tokenizer,
            rope_scaling_factor=rope_scaling_factor,
            source_path=source_path,
            strict=strict,
            show_progress=show_progress,
            release_id=release_id,
        )
    trained = TrainedModel.of(bridge, folder, tokens, rope_scaling_factor)
    if trained is None:
        if Path(folder).is_dir():
            raise NoCheckpointError(Path(folder))
        # Megatron-Bridge raises its own error.
        return False
    source = bridge.source_model.folder if bridge.source_model is not None else _source_name(bridge)
    source_folder = Path(source) if source is not None and Path(source).is_dir() else None
    check_location(out, (Path(folder), Path(release or folder)), source_folder)
    model_bridge = architecture_bridge(bridge)
    if not model_bridge.SUPPORTS_HF_PRETRAINED_EXPORT:
        raise UnsupportedExportError(type(model_bridge).__name__)
    stored_dtype = check_tensors(bridge, folder, trained.tensors)
    dtype = target or stored_dtype
    on_rank_0(lambda: _check_output(out, trained, dtype))
    publication = FolderPublication(out)
    staging = Path(on_rank_0(lambda: str(publication.begin_empty())))
    outcome = f"Nothing was published; {out} contains nothing of it. Run the export again."
    try:
        with exit_on_sigterm(outcome):
            with reading(folder, CheckpointException, CheckpointingException, OSError):
                model = _load(bridge, folder, release, trained.overrides(stored_dtype))
            tensors = _tensors(bridge, model, stored_dtype, dtype, show_progress)
            missing = _write_weights(bridge, tensors, staging, max_size)
            on_rank_0(lambda: _report_missing(missing, strict))
            on_rank_0(lambda: _write_files(trained, staging, tokenizer, source_path))
            on_rank_0(lambda: _require_same(imported, release_id))
            on_rank_0(publication.commit)
    except KeyboardInterrupt as error:
        # config.json is published last, into a directory that was empty.
        published = f"The model in {out} is complete."
        raise KeyboardInterrupt(f"interrupted. {published if (out / 'config.json').exists() else outcome}") from error
    finally:
        publication.end()
    return True


def _check_release(release: Path, bridge: Any, is_named: bool) -> None:
    """Check that a release was imported from the source model.

    Args:
        is_named: Whether the caller named the release. One next to the checkpoint need not record its source model.
    """
    if not is_named and not (release / SOURCE_FILE).exists():
        return
    if release.name != RELEASE or not (release / METADATA).exists():
        raise NotAReleaseError(release)
    source = bridge.source_model or _source_name(bridge)
    if source is not None:
        require_source(release.parent, source)
    elif is_named:
        raise NoSourceModelError(release)


def _require_same(release: Path, release_id: DirectoryId | None) -> None:
    """Check that no import has replaced the release: its weights, or its run config, may be those of another model."""
    if directory_id(release) != release_id:
        raise FileChangedError(release)


def _source_name(bridge: Any) -> str | Path | None:
    """Return the ID or the directory of the source model; None if the bridge was made from a config."""
    name: str | Path | None = getattr(bridge.hf_pretrained, "model_name_or_path", None) or bridge.hf_model_id
    return name


def _load(bridge: Any, checkpoint: str, release: str | Path | None, overrides: Any) -> list[Any]:
    """Load the model like `AutoBridge.load_megatron_model`, but with the run config of any release."""
    if bridge.trust_remote_code:
        register_allowed_target_prefix("transformers_modules.")
    model = load_megatron_model(
        checkpoint,
        use_cpu_init=dist.get_backend() == "gloo",
        skip_temp_dist_context=True,
        mp_overrides=overrides,
        # A given release need not describe what was trained: only the weights are exported.
        run_config_path=release or resolve_run_config_folder(checkpoint),
    )
    return model if isinstance(model, list) else [model]


def _dtype(dtype: str | torch.dtype) -> torch.dtype:
    name = str(dtype).removeprefix("torch.")
    if name not in _DTYPES:
        raise ExportDtypeError(name, tuple(_DTYPES))
    return _DTYPES[name]


def _check_output(out: Path, trained: TrainedModel, dtype: torch.dtype) -> None:
    check_writable(out)
    check_empty(out)
    check_free_space(out, sum(prod(tensor.global_shape) for tensor in trained.tensors.values()) * dtype.itemsize)


def _tensors(
    bridge: Any, model: list[Any], stored_dtype: torch.dtype, dtype: torch.dtype, show_progress: bool
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors of the Hugging Face model. Tensors of another dtype than the weights keep theirs."""
    for name, tensor in architecture_bridge(bridge).stream_weights_megatron_to_hf(
        model, bridge.hf_pretrained, cpu=True, show_progress=show_progress
    ):
        if tensor.dtype == stored_dtype:
            tensor = tensor.to(dtype)
        check_finite(tensor, name)
        yield name, tensor


def _write_weights(
    bridge: Any, tensors: Iterator[tuple[str, torch.Tensor]], folder: Path, max_size: int | None
) -> list[str]:
    """Write the tensors on rank 0. Return the names of tensors that only the source model has."""
    if dist.is_initialized() and dist.get_rank() > 0:
        # The conversions are collective.
        for _ in tensors:
            pass
        return []
    layout = _source_layout(bridge.hf_pretrained)
    shards = WeightShards(folder, layout, max_size if layout else max_size or file_size(_MAX_SHARD_SIZE))
    for name, tensor in tensors:
        shards.add(name, tensor)
    written = shards.close()
    config = getattr(bridge.hf_pretrained, "config", bridge.hf_pretrained)
    return [name for name in layout if name not in written and not is_ignored(name, config)]


def _report_missing(names: list[str], strict: bool) -> None:
    if not names:
        return
    if strict:
        raise MissingTensorsError(tuple(names))
    warn(MissingTensorsWarning(tuple(names)))


def _source_layout(hf_pretrained: Any) -> Mapping[str, str]:
    """Return the file names of the source model's tensors; nothing if the bridge was made from a config."""
    source = getattr(getattr(hf_pretrained, "state", None), "source", None)
    return source.key_to_filename_map if isinstance(source, SafeTensorsStateSource) else {}


def _write_files(
    trained: TrainedModel, folder: Path, tokenizer: str | Path | None, source_path: str | Path | None
) -> None:
    copy_model_files(trained.bridge, folder, tokenizer, source_path)
    trained.write_config(folder)
    # safetensors creates files with mode 0600. Apply the umask instead.
    mask = os.umask(0)
    os.umask(mask)
    for path in folder.rglob("*"):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)
