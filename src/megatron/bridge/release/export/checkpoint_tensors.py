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

from typing import Any

from megatron.core.dist_checkpointing.mapping import ShardedTensor
from megatron.core.dist_checkpointing.serialization import load_content_metadata, load_tensors_metadata
from megatron.core.utils import unwrap_model

from megatron.bridge.release.text import grouped
from megatron.bridge.release.validation.meta_model import build_on_meta
from megatron.bridge.release.validation.tensors import explained, sources_of
from megatron.bridge.release.write.streaming import entries_of
from megatron.bridge.release.write.transformer_engine_keys import transformer_engine_norm_key


def model_tensors(folder: str) -> dict[str, ShardedTensor]:
    """Return the tensors of a checkpoint by their keys, without the state of the optimizer.

    Args:
        folder: Checkpoint folder.
    """
    tensors: dict[str, ShardedTensor] = load_tensors_metadata(folder)
    return {key: tensor for key, tensor in tensors.items() if "optimizer" not in key}


def require_all_converted(bridge: Any, folder: str) -> None:
    """Require that the source model has a place for each tensor of a checkpoint. Needs a process group.

    Args:
        bridge: The `AutoBridge` of the source model.
        folder: Checkpoint folder.

    Raises:
        RuntimeError: If the model cannot be built here, for want of Transformer Engine or CUDA.
        ValueError: If a tensor would be left out. One line, which names all such tensors.
    """
    with explained(getattr(bridge.hf_pretrained, "model_name_or_path", None) or "the source model"):
        provider = bridge.to_megatron_provider(load_weights=False)
        provider.finalize()
        model = unwrap_model(build_on_meta(provider))
    unmapped = sorted(name for name, source in sources_of(bridge._model_bridge, model[0]).items() if source is None)
    if unmapped:
        raise ValueError(f"{type(bridge._model_bridge).__name__} exports no tensor of {grouped(unmapped)}.")
    expected = {entry.key: entry for entry in entries_of(model[0], load_content_metadata(folder))}
    stored = model_tensors(folder)
    # A release contains each norm by all keys that models have for it.
    norms = {transformer_engine_norm_key(key, {*stored}) for key in expected} - {None}
    unread = [
        key for key in stored if key not in expected and transformer_engine_norm_key(key, {*stored}) not in norms
    ]
    if unread:
        raise ValueError(
            f"Unexpected tensors: {grouped(unread)}. {folder} contains them, and a model of the source's config has no "
            "place for them: an export would leave them out. Export with the model that the training started from."
        )
    for key, entry in expected.items():
        if key in stored and not entry.allow_shape_mismatch and stored[key].global_shape != entry.global_shape:
            raise ValueError(
                f"Shape mismatch: {key} is {list(stored[key].global_shape)} in {folder}, the source's config implies "
                f"{list(entry.global_shape)}. Export with the model that the training started from."
            )
