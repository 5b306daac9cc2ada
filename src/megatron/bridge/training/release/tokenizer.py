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

"""A release has its tokenizer, or is not published."""

from collections.abc import Callable
from pathlib import Path

from megatron.core.msc_utils import MultiStorageClientFeature

from megatron.bridge.training.utils.all_ranks import on_rank_0


def save_tokenizer(save: Callable[[], None], folder: str, required: bool) -> None:
    """Save a checkpoint's tokenizer, on rank 0; where it is required, every rank is told if that fails.

    Args:
        save: What saves it, and raises what stops it where it is required.
        folder: Checkpoint folder; one in an object store (MultiStorageClient) is not looked into.
        required: Whether the checkpoint must not be without it.

    Raises:
        RuntimeError: If it is required and not there afterwards.
    """
    if not required:
        save()
        return
    on_rank_0(save)
    on_rank_0(lambda: _require_tokenizer(Path(folder, "tokenizer")))


def _require_tokenizer(folder: Path) -> None:
    if MultiStorageClientFeature.is_enabled() or (folder.is_dir() and any(folder.iterdir())):
        return
    raise RuntimeError("The tokenizer could not be saved, so nothing is published; the log says why.")
