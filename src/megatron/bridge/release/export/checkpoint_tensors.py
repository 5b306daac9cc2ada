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

"""The tensors of a checkpoint's model, each of which an export converts."""

from megatron.bridge.release.compat.bridge_api import architecture_bridge
from megatron.bridge.release.compat.torch_api import checkpoint_causes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from megatron.core.dist_checkpointing.mapping import ShardedTensor
from megatron.core.dist_checkpointing.serialization import load_content_metadata, load_tensors_metadata
from megatron.core.utils import unwrap_model
from megatron.bridge.release.compat.torch_api import CheckpointException

from megatron.bridge.release.checkpoint_dir import checkpoint_dir_of
from megatron.bridge.release.errors import one_line
from megatron.bridge.release.text import summarize_names
from megatron.bridge.release.validation.meta_model import build_on_meta
from megatron.bridge.release.validation.tensors import model_build_errors, sources_of
from megatron.bridge.release.write.streaming import entries_of
from megatron.bridge.release.write.transformer_engine_keys import transformer_engine_norm_key


# The dtypes that an export can have.
DTYPES = (torch.bfloat16, torch.float16, torch.float32)


@contextmanager
def quote_if_unprintable(folder: str, *errors: type[BaseException]) -> Iterator[None]:
    """Turn what the libraries raise for a damaged checkpoint into a ValueError of one line.

    Args:
        folder: Checkpoint folder.
        errors: Classes of errors that are turned; if none, all.
    """
    try:
        yield
    except errors or (Exception, CheckpointException) as error:
        # CheckpointException is not an Exception. It has the cause of each rank; here there is one rank.
        causes = checkpoint_causes(error)
        reason = one_line(causes[0] if causes else error)
        raise ValueError(f"{checkpoint_dir_of(Path(folder))} cannot be read ({reason}).") from error


def model_tensors(folder: str) -> dict[str, ShardedTensor]:
    """Return the tensors of a checkpoint by their keys, without the state of the optimizer.

    Args:
        folder: Checkpoint folder.

    Raises:
        ValueError: If its metadata cannot be read.
    """
    with quote_if_unprintable(folder):
        tensors: dict[str, ShardedTensor] = load_tensors_metadata(folder)
    return {key: tensor for key, tensor in tensors.items() if "optimizer" not in key}


def check_tensors(bridge: Any, folder: str) -> torch.dtype:
    """Check that the source model has a place for each tensor of a checkpoint. Needs a process group.

    Args:
        bridge: The `AutoBridge` of the source model.
        folder: Checkpoint folder.

    Returns:
        The dtype that represents every weight exactly, without the tensors that Megatron Core always keeps in float32.

    Raises:
        RuntimeError: If the model cannot be built here, for want of Transformer Engine or CUDA.
        ValueError: If a tensor would be left out, or has another shape or an unsupported dtype. One line, which names the
            tensors.
    """
    with model_build_errors(getattr(bridge.hf_pretrained, "model_name_or_path", None) or "the source model"):
        provider = bridge.to_megatron_provider(load_weights=False)
        # Whatever is float32 in such a model is always float32.
        provider.bf16, provider.fp16, provider.params_dtype = True, False, torch.bfloat16
        provider.finalize()
        model = unwrap_model(build_on_meta(provider))
    unmapped = sorted(name for name, source in sources_of(architecture_bridge(bridge), model[0]).items() if source is None)
    if unmapped:
        raise ValueError(f"{type(architecture_bridge(bridge)).__name__} exports no tensor of {summarize_names(unmapped)}.")
    stored = model_tensors(folder)
    with quote_if_unprintable(folder):
        metadata = load_content_metadata(folder)
    expected = {entry.key: entry for entry in entries_of(model[0], metadata)}
    # A release contains each norm by all keys that models have for it.
    norms = {transformer_engine_norm_key(key, {*stored}) for key in expected} - {None}
    unread = [
        key for key in stored if key not in expected and transformer_engine_norm_key(key, {*stored}) not in norms
    ]
    if unread:
        raise ValueError(
            f"Unexpected tensors: {summarize_names(unread)}. {folder} contains them, and a model of the source's config has no "
            "place for them: an export would leave them out. Export with the model that the training started from."
        )
    rows = {}
    for key, entry in expected.items():
        if key not in stored:
            continue
        shape, implied = stored[key].global_shape, entry.global_shape
        if entry.allow_shape_mismatch:
            # A row per token; their number follows from the checkpoint's vocabulary.
            rows[key], implied = shape[0], (shape[0], *implied[1:])
        if shape != implied:
            raise ValueError(
                f"Shape mismatch: {key} is {list(shape)} in {folder}, the source's config implies {list(implied)}. "
                "Export with the model that the training started from."
            )
    if len({*rows.values()}) > 1:
        shapes = " and ".join(f"{key} is {list(stored[key].global_shape)}" for key in rows)
        raise ValueError(
            f"Shape mismatch: {shapes} in {folder}. They must have the same number of rows. Save the checkpoint again."
        )
    return widest_dtype(expected, stored, folder)


def widest_dtype(expected: dict[str, ShardedTensor], stored: dict[str, ShardedTensor], folder: str) -> torch.dtype:
    """Return the dtype that represents every weight of a checkpoint exactly.

    Args:
        expected: Tensors of the model in bfloat16, by their keys. The others of them are always float32.
        stored: Tensors of the checkpoint, by their keys.
        folder: Checkpoint folder, for the error.

    Raises:
        ValueError: If a tensor has a dtype that no export has, or if there are none.
    """
    dtypes = set()
    for key, tensor in stored.items():
        model_dtype = expected[key].dtype if key in expected else torch.bfloat16
        if tensor.dtype != model_dtype and not {tensor.dtype, model_dtype} <= {*DTYPES}:
            raise ValueError(
                f"Unsupported dtype: {key} is {str(tensor.dtype).removeprefix('torch.')} in {folder}. An export supports "
                "bfloat16, float16 and float32. Save the checkpoint in one of them."
            )
        if model_dtype == torch.bfloat16:
            dtypes.add(tensor.dtype)
    if not dtypes:
        raise ValueError(f"{folder} contains no weights. Save the checkpoint again.")
    return reduce(torch.promote_types, dtypes)
