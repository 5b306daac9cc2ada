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

"""Exports a checkpoint as a Hugging Face model, which appears in its folder when it is complete."""

from megatron.bridge.release.compat.bridge_api import architecture_bridge
import os
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from megatron.core.dist_checkpointing.core import CheckpointingException
from megatron.bridge.release.compat.torch_api import CheckpointException

from megatron.bridge.models.hf_pretrained.state import SafeTensorsStateSource
from megatron.bridge.release.errors import warn
from megatron.bridge.release.export.checkpoint_tensors import DTYPES, check_tensors, model_tensors, readable
from megatron.bridge.release.export.model_files import copy_model_files, tokenizer_size
from megatron.bridge.release.export.output_dir import check_empty, check_free_space, check_location, file_size
from megatron.bridge.release.export.publish import FolderPublication
from megatron.bridge.release.export.trained_model import TrainedModel
from megatron.bridge.release.export.weight_shards import WeightShards
from megatron.bridge.release.layout import METADATA, RELEASE
from megatron.bridge.release.source.provenance import require_source
from megatron.bridge.release.text import summarize_names
from megatron.bridge.release.validation.finite import check_finite
from megatron.bridge.release.validation.output_dir import check_writable
from megatron.bridge.release.validation.tensors import is_ignored
from megatron.bridge.release.write.save import exit_on_sigterm
from megatron.bridge.training.checkpointing import find_checkpoint_folder
from megatron.bridge.training.model_load_save import load_megatron_model
from megatron.bridge.training.utils.checkpoint_resolver import resolve_run_config_folder
from megatron.bridge.training.utils.collectives import on_rank_0
from megatron.bridge.utils.instantiate_utils import register_allowed_target_prefix


# The size of a file if the source model has no safetensors files to go by.
_MAX_SHARD_SIZE = "5GB"
_DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in DTYPES}


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
) -> bool:
    """Export a checkpoint. Collective; rank 0 writes.

    Args:
        bridge: The `AutoBridge` of the source model.
        checkpoint: Checkpoint directory, or a checkpoint folder in it.
        out: Folder to write; it need not exist, and may be an empty folder, a mount point or a symlink to one.
        release: Folder of the release that the training started from, if it is not next to the checkpoint folder.
        dtype: Dtype of the exported tensors; None for the widest of the checkpoint's weights.
        max_shard_size: Size of a weight file, in bytes or such as ``5GB``; None for the files of the source model.
        tokenizer: Folder of the tokenizer of the training, if it is not the source model's.
        rope_scaling_factor: The rope scaling factor that the training applied, if the checkpoint does not record it.
        source_path: Folder of the source model's code, if that is elsewhere.
        strict: Whether a tensor of the source model that Megatron's model does not have is an error; else it is a
            warning. A tensor of Megatron's model that the checkpoint lacks is always an error.
        show_progress: Whether to show a progress bar.

    Returns:
        Whether the checkpoint folder exists.

    Raises:
        ValueError: If the checkpoint cannot be read or exported so, or lacks tensors, if the release is not the source
            model's, or if the folder is not empty, has no room, or is inside a checkpoint or the source model.
        RuntimeError: If another process is writing into the folder.
        OSError: If a file cannot be written. Nothing of the export is in the folder then.
    """
    folder, out = find_checkpoint_folder(str(checkpoint)), Path(os.path.expanduser(out))
    target = None if dtype is None else _dtype(dtype)
    max_size = None if max_shard_size is None else file_size(max_shard_size)
    tokens = tokenizer_size(tokenizer, getattr(bridge.hf_pretrained, "trust_remote_code", False) is True)
    if release is not None:
        _require_release(Path(release), bridge)
    trained = TrainedModel.of(bridge, folder, tokens, rope_scaling_factor)
    if trained is None:
        if Path(folder).is_dir():
            raise ValueError(
                f"{folder} contains no checkpoint. Pass a checkpoint directory, or a checkpoint folder in it."
            )
        # Megatron-Bridge raises its own error.
        return False
    source = bridge.source_model.folder if bridge.source_model is not None else _source_name(bridge)
    source_folder = Path(source) if source is not None and Path(source).is_dir() else None
    check_location(out, (Path(folder), Path(release or folder)), source_folder)
    model_bridge = architecture_bridge(bridge)
    if not model_bridge.SUPPORTS_HF_PRETRAINED_EXPORT:
        raise NotImplementedError(
            f"{type(model_bridge).__name__} supports no export of a complete Hugging Face model."
        )
    own = check_tensors(bridge, folder)
    on_rank_0(lambda: _check_output(out, folder, target or own))
    publication = FolderPublication(out)
    staging = Path(on_rank_0(lambda: str(publication.begin_empty())))
    try:
        with exit_on_sigterm(f"Nothing was published; {out} contains nothing of it. Run the export again."):
            with quote_if_unprintable(folder, CheckpointException, CheckpointingException, OSError):
                model = _load(bridge, folder, release, trained.overrides(own))
            tensors = _tensors(bridge, model, own, target or own, show_progress)
            missing = _write_weights(bridge, tensors, staging, max_size)
            on_rank_0(lambda: _report_missing(missing, strict))
            on_rank_0(lambda: _write_files(trained, staging, tokenizer, source_path))
            on_rank_0(publication.commit)
    finally:
        publication.end()
    return True


def _require_release(release: Path, bridge: Any) -> None:
    """Require that a named release is one of the source model. Raise ValueError."""
    if release.name != RELEASE or not (release / METADATA).exists():
        raise ValueError(
            f"{release} is not a release. Name the folder {RELEASE}/ in the checkpoint directory that the training started "
            "from."
        )
    source = bridge.source_model or _source_name(bridge)
    if source is None:
        raise ValueError(
            f"A config has no weights to compare with the source of {release}. Export with "
            "AutoBridge.from_hf_pretrained, given the model that the training started from."
        )
    require_source(release.parent, source)


def _source_name(bridge: Any) -> str | Path | None:
    """Return the model ID or the folder of the source model; None if it is a config."""
    name: str | Path | None = getattr(bridge.hf_pretrained, "model_name_or_path", None) or bridge.hf_model_id
    return name


def _load(bridge: Any, checkpoint: str, release: str | Path | None, overrides: Any) -> list[Any]:
    """Load the model, as `AutoBridge.load_megatron_model` does, but with the run config of any release."""
    if bridge.trust_remote_code:
        register_allowed_target_prefix("transformers_modules.")
    model = load_megatron_model(
        checkpoint,
        use_cpu_init=dist.get_backend() == "gloo",
        skip_temp_dist_context=True,
        mp_overrides=overrides,
        # Named, it need not describe what was trained: the weights alone are exported.
        run_config_path=release or resolve_run_config_folder(checkpoint),
    )
    return model if isinstance(model, list) else [model]


def _dtype(dtype: str | torch.dtype) -> torch.dtype:
    name = str(dtype).removeprefix("torch.")
    if name not in _DTYPES:
        raise ValueError(f"The dtype of an export is one of {', '.join(_DTYPES)}, not {name}.")
    return _DTYPES[name]


def _check_output(out: Path, checkpoint: str, dtype: torch.dtype) -> None:
    check_writable(out)
    check_empty(out)
    tensors = model_tensors(checkpoint).values()
    check_free_space(out, sum(prod(tensor.global_shape) for tensor in tensors) * dtype.itemsize)


def _tensors(
    bridge: Any, model: list[Any], own: torch.dtype, dtype: torch.dtype, show_progress: bool
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors of the Hugging Face model; those that the model keeps in another dtype than its own stay so."""
    for name, tensor in architecture_bridge(bridge).stream_weights_megatron_to_hf(
        model, bridge.hf_pretrained, cpu=True, show_progress=show_progress
    ):
        if tensor.dtype == own:
            tensor = tensor.to(dtype)
        check_finite(tensor, name)
        yield name, tensor


def _write_weights(
    bridge: Any, tensors: Iterator[tuple[str, torch.Tensor]], folder: Path, max_size: int | None
) -> list[str]:
    """Write the tensors on rank 0. Return the names of the source model's tensors that are not among them."""
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
    problem = f"Missing tensors: {summarize_names(names)}. The source model contains them, the checkpoint does not."
    if strict:
        raise ValueError(f"{problem} Export with the model that the checkpoint was imported from.")
    warn(problem)


def _source_layout(hf_pretrained: Any) -> Mapping[str, str]:
    """Return the file names of the source model's tensors; nothing if it is a config alone."""
    source = getattr(getattr(hf_pretrained, "state", None), "source", None)
    return source.key_to_filename_map if isinstance(source, SafeTensorsStateSource) else {}


def _write_files(
    trained: TrainedModel, folder: Path, tokenizer: str | Path | None, source_path: str | Path | None
) -> None:
    copy_model_files(trained.bridge, folder, tokenizer, source_path)
    trained.write_config(folder)
    # Files of safetensors are readable by their owner alone; an export has the mode of any new file.
    mask = os.umask(0)
    os.umask(mask)
    for path in folder.rglob("*"):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)
