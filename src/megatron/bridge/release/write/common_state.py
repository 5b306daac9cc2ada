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

"""A release's common state: Megatron-LM's args of the model, and ``common.pt``, where older readers look for them."""

import argparse
import io
import os
from pathlib import Path
from typing import Any

import torch
from megatron.core.dist_checkpointing.serialization import load_common_state_dict

from megatron.bridge.release.compat.megatron_core_api import COMMON_STATE_FNAME, MultiStorageClientFeature
from megatron.bridge.release.megatron_args.args import megatron_lm_args
from megatron.bridge.training.utils.all_ranks import on_rank_0
from megatron.bridge.training.utils.checkpoint_utils import get_checkpoint_name


def release_args(model: Any, tokenizer: Any, root: str | Path) -> argparse.Namespace:
    """Make the args of a release.

    Args:
        model: The model provider, with the model's own values.
        tokenizer: The tokenizer's config; None where there is none.
        root: Checkpoint root, where the release is found.

    Returns:
        The args.
    """
    args = megatron_lm_args(model)
    if tokenizer is not None:
        args.tokenizer_type = tokenizer.tokenizer_type
        args.tokenizer_model = tokenizer.tokenizer_model
        if os.path.isdir(tokenizer.tokenizer_model) or os.path.isabs(tokenizer.tokenizer_model):
            # The copy in the checkpoint stays where the checkpoint is; the model's folder may be gone by then.
            folder = get_checkpoint_name(str(root), 0, release=True)
            args.tokenizer_model = os.path.join(os.path.abspath(folder), "tokenizer")
    return args


def write_common_state(path: str | Path) -> None:
    """Write ``common.pt`` into a release, for Megatron-LM before core 0.19. Collective.

    Since core 0.19, torch_dist keeps the common state in the ``.distcp`` files, where older readers do not
    look; newer ones still read ``common.pt`` where there is one. It is a copy of what Megatron Core has stored.
    On an object store (MultiStorageClient) there is none.

    Args:
        path: Checkpoint root that holds the release.
    """
    if not MultiStorageClientFeature.is_enabled():
        on_rank_0(lambda: _write_common_state(get_checkpoint_name(str(path), 0, release=True)))


def _write_common_state(folder: str) -> None:
    file = Path(folder, COMMON_STATE_FNAME)
    if not file.exists():
        save_object(load_common_state_dict(folder), file)


def save_object(state: object, filename: str | Path) -> None:
    """Save as `torch.save` does, which names no error of the operating system where it opens the file itself.

    Args:
        state: What to save.
        filename: Path of the file.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    Path(filename).write_bytes(buffer.getbuffer())
