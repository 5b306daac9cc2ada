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

"""The save of a release that is under way: state that its steps share, which are spread over upstream's functions."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from megatron.bridge.release.source.provenance import SourceModel
from megatron.bridge.training.config import ConfigContainer


@dataclass
class ReleaseSave:
    """A save.

    Attributes:
        root: Checkpoint root, where the release is published.
        notes: Notes that are printed when it is published.
        source_model: The Hugging Face model; None if the caller built the model.
    """

    root: Path
    source_model: SourceModel | None = None
    notes: list[str] = field(default_factory=list)


_current: ContextVar[ReleaseSave | None] = ContextVar("the save of a release", default=None)


@contextmanager
def begin(save: ReleaseSave) -> Iterator[ReleaseSave]:
    """Let a save be the one that is under way."""
    token = _current.set(save)
    try:
        yield save
    finally:
        _current.reset(token)


def note(*texts: str) -> None:
    """Tell the user of the save that is under way, when its release is published.

    Args:
        texts: What to tell; empty ones are left out.
    """
    if (save := _current.get()) is not None:
        save.notes += filter(None, texts)


def published_root(folder: str) -> str:
    """Return the checkpoint root that the user gave, also while the checkpoint is staged.

    Args:
        folder: The folder that is saved to.

    Returns:
        The root of the save that is under way; ``folder`` where nothing is staged.
    """
    save = _current.get()
    return str(save.root) if save is not None else folder


def write_run_config(cfg: ConfigContainer, filename: str) -> None:
    """Write a release's ``run_config.yaml``: with the directory where it is published, not the staging directory, and
    with the tokenizer's model ID and commit, not the cache of the Hub.

    Args:
        cfg: The configuration to write.
        filename: Path of the file.
    """
    written = copy.copy(cfg)
    written.checkpoint = copy.copy(cfg.checkpoint)
    written.checkpoint.save = published_root(cfg.checkpoint.save)
    save = _current.get()
    model = save.source_model if save is not None else None
    if model is not None and model.commit and cfg.tokenizer and cfg.tokenizer.tokenizer_model == str(model.folder):
        written.tokenizer = copy.copy(cfg.tokenizer)
        written.tokenizer.tokenizer_model = model.name
        written.tokenizer.hf_tokenizer_kwargs = {**(cfg.tokenizer.hf_tokenizer_kwargs or {}), "revision": model.commit}
    written.to_yaml(filename)
