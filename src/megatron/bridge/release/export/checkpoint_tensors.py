# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The tensors of a checkpoint's model, each of which an export converts."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from megatron.core.dist_checkpointing.mapping import ShardedTensor
from megatron.core.dist_checkpointing.serialization import load_content_metadata, load_tensors_metadata
from megatron.core.utils import unwrap_model

from megatron.bridge.release.checkpoint_dir import checkpoint_dir_of
from megatron.bridge.release.compat.bridge_api import architecture_bridge
from megatron.bridge.release.compat.torch_api import CheckpointException, checkpoint_causes
from megatron.bridge.release.errors import one_line
from megatron.bridge.release.export.errors import (
    NoWeightsError,
    RowMismatchError,
    ShapeMismatchError,
    TensorDtypeError,
    UnexpectedTensorsError,
    UnreadableCheckpointError,
    UnsupportedExportError,
)
from megatron.bridge.release.validation.meta_model import build_on_meta
from megatron.bridge.release.validation.tensors import model_build_errors, sources_of
from megatron.bridge.release.write.local_model_keys import local_model_key
from megatron.bridge.release.write.streaming import entries_of


# The dtypes that an export can have.
DTYPES = (torch.bfloat16, torch.float16, torch.float32)


@contextmanager
def reading(folder: str, *errors: type[BaseException]) -> Iterator[None]:
    """Raise `UnreadableCheckpointError` for errors of the libraries about a checkpoint.

    Args:
        folder: Iteration directory.
        errors: Classes of these errors; all errors if there are none.
    """
    try:
        yield
    except errors or (Exception, CheckpointException) as error:
        # There is one rank.
        reason = one_line(next(iter(checkpoint_causes(error)), error))
        raise UnreadableCheckpointError(checkpoint_dir_of(Path(folder)), reason) from error


def read_model_tensors(folder: str) -> dict[str, ShardedTensor]:
    """Read the metadata of a checkpoint's tensors, by key, without those of the optimizer and the states of FP8.

    Raises:
        UnreadableCheckpointError: If the metadata cannot be read.
    """
    with reading(folder):
        tensors: dict[str, ShardedTensor] = load_tensors_metadata(folder)
    return {key: tensor for key, tensor in tensors.items() if "optimizer" not in key and "._extra_state" not in key}


def check_tensors(bridge: Any, folder: str, stored: Mapping[str, ShardedTensor]) -> torch.dtype:
    """Check that the source model has a place for each tensor of a checkpoint. Needs a process group.

    Args:
        bridge: The `AutoBridge` of the source model.
        folder: Iteration directory.
        stored: Metadata of its tensors.

    Returns:
        The dtype that represents every weight exactly. Tensors that Megatron Core always keeps in float32 do not count.

    Raises:
        RuntimeError: If the model cannot be built here, because it needs Transformer Engine or CUDA.
        ReleaseError: If a tensor would be left out, or has another shape or an unsupported dtype.
    """
    model_bridge = architecture_bridge(bridge)
    with model_build_errors(getattr(bridge.hf_pretrained, "model_name_or_path", None) or "the source model"):
        provider = bridge.to_megatron_provider(load_weights=False)
        # Parameters that are float32 in a bfloat16 model are always float32.
        provider.bf16, provider.fp16, provider.params_dtype = True, False, torch.bfloat16
        provider.finalize()
        model = unwrap_model(build_on_meta(provider))
    unmapped = sorted(name for name, source in sources_of(model_bridge, model[0]).items() if source is None)
    if unmapped:
        raise UnsupportedExportError(type(model_bridge).__name__, tuple(unmapped))
    with reading(folder):
        metadata = load_content_metadata(folder)
    expected = {entry.key: entry for entry in entries_of(model[0], metadata)}
    if unexpected := sorted(stored.keys() - expected.keys() - set(map(local_model_key, expected))):
        raise UnexpectedTensorsError(Path(folder), tuple(unexpected))
    rows = {}
    for key, entry in expected.items():
        if key not in stored:
            continue
        shape, implied = stored[key].global_shape, entry.global_shape
        if entry.allow_shape_mismatch:
            # A row for each token; the vocabulary check compares their number.
            rows[key], implied = shape[0], (shape[0], *implied[1:])
        if shape != implied:
            raise ShapeMismatchError(Path(folder), key, tuple(shape), tuple(implied))
    if len({*rows.values()}) > 1:
        raise RowMismatchError(Path(folder), rows)
    return widest_dtype(expected, stored, folder)


def widest_dtype(
    expected: Mapping[str, ShardedTensor], stored: Mapping[str, ShardedTensor], folder: str
) -> torch.dtype:
    """Return the dtype that represents every weight of a checkpoint exactly.

    Args:
        expected: Tensors of the model in bfloat16, by key. Those that are float32 are always float32.
        stored: Tensors of the checkpoint, by key.
        folder: Iteration directory, for the error.

    Raises:
        TensorDtypeError: If a tensor has a dtype that no export has.
        NoWeightsError: If there are no weights.
    """
    dtypes = set()
    for key, tensor in stored.items():
        model_dtype = expected[key].dtype if key in expected else torch.bfloat16
        if tensor.dtype != model_dtype and not {tensor.dtype, model_dtype} <= {*DTYPES}:
            raise TensorDtypeError(Path(folder), key, str(tensor.dtype).removeprefix("torch."))
        if model_dtype == torch.bfloat16:
            dtypes.add(tensor.dtype)
    if not dtypes:
        raise NoWeightsError(Path(folder))
    widest: torch.dtype = reduce(torch.promote_types, dtypes)
    return widest
