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

"""What a release holds beyond an iteration's checkpoint: args, run config, flags, ``common.pt``, source, checksums."""

import argparse
import copy
import io
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from megatron.core.dist_checkpointing.dict_utils import nested_values
from megatron.core.dist_checkpointing.serialization import load_common_state_dict
from megatron.core.msc_utils import MultiStorageClientFeature

from megatron.bridge.training.config import ConfigContainer
from megatron.bridge.training.release.args import fields_without_argument, megatron_lm_args, megatron_lm_flags
from megatron.bridge.training.release.entry_file import require_numbers
from megatron.bridge.training.release.integrity import read_manifest, write_manifest
from megatron.bridge.training.release.layout import COMMON_STATE, FLAGS_FILE, INTEGRITY_FILE
from megatron.bridge.training.release.source import describe, describe_run_config, write_source
from megatron.bridge.training.release.te_keys import add_transformer_engine_keys
from megatron.bridge.training.release.under_way import under_way
from megatron.bridge.training.utils.all_ranks import together
from megatron.bridge.training.utils.checkpoint_utils import get_checkpoint_name
from megatron.bridge.utils.common_utils import warn_rank_0
from megatron.bridge.utils.host import without_host_values


def prepare_release_state_dict(state_dict: dict[str, Any], cfg: ConfigContainer) -> None:
    """Add to a state dict what a release checkpoint holds beyond an iteration's.

    Args:
        state_dict: The state dict to be saved, changed in place.
        cfg: The configuration that is saved with it.
    """
    model = without_host_values(cfg.model)
    args = release_args(model, cfg.checkpoint.ckpt_format, cfg.tokenizer, _root(cfg))
    state_dict["args"] = args
    if (save := under_way()) is not None:
        save.args = args
    if MultiStorageClientFeature.is_enabled() or cfg.checkpoint.ckpt_format != "torch_dist":
        # Megatron Core's writers take what they are given.
        together(lambda: _require_numbers(state_dict))
    for section, entries in state_dict.items():
        if section.startswith("model") and isinstance(entries, dict):
            add_transformer_engine_keys(entries)


def _require_numbers(state_dict: dict[str, Any]) -> None:
    for entry in nested_values(state_dict):
        data = getattr(entry, "data", None)
        if isinstance(data, torch.Tensor) and data.is_floating_point() and data.numel():
            require_numbers(data, entry.key)


def release_args(model: Any, ckpt_format: str, tokenizer: Any, root: str | Path) -> argparse.Namespace:
    """Make the args of a release.

    Args:
        model: The model provider, with the model's own values.
        ckpt_format: Format of the checkpoint.
        tokenizer: The tokenizer's config; None where there is none.
        root: Checkpoint root, where it is published.

    Returns:
        The args.
    """
    args = megatron_lm_args(model)
    args.ckpt_format = ckpt_format
    if tokenizer is not None:
        args.tokenizer_type = tokenizer.tokenizer_type
        args.tokenizer_model = tokenizer.tokenizer_model
        if os.path.isdir(tokenizer.tokenizer_model) or os.path.isabs(tokenizer.tokenizer_model):
            # The copy in the checkpoint stays where the checkpoint is; the model's folder may be gone by then.
            folder = get_checkpoint_name(str(root), 0, release=True)
            args.tokenizer_model = os.path.join(os.path.abspath(folder), "tokenizer")
    return args


def warn_of_what_no_flag_gives(model: Any) -> str:
    """Warn where Megatron-LM's own GPT model cannot be made to compute what a model computes.

    Args:
        model: The model provider.

    Returns:
        What the warning says; empty where there is none.
    """
    lacking = fields_without_argument(without_host_values(model))
    if not lacking:
        return ""
    text = (
        f"Megatron-LM's own GPT model differs from this one: no flag gives it {', '.join(lacking)}. Build the model in your "
        "training script (the README's Limits say how, for a rope scaling factor), or train it with Megatron-Bridge."
    )
    warn_rank_0(text)
    return text


def write_run_config(cfg: ConfigContainer, filename: str) -> None:
    """Write a release's ``run_config.yaml``, which names the place where it is published, not the staging folder.

    Args:
        cfg: The configuration to write.
        filename: Path of the file.
    """
    written = copy.copy(cfg)
    written.checkpoint = copy.copy(cfg.checkpoint)
    written.checkpoint.save = _root(cfg)
    written.to_yaml(filename)


def save_object(state: object, filename: str | Path) -> None:
    """Save as `torch.save` does, which names no error of the operating system where it opens the file itself.

    Args:
        state: What to save.
        filename: Path of the file.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    Path(filename).write_bytes(buffer.getbuffer())


def write_flags(args: argparse.Namespace, folder: Path) -> None:
    """Write the model's flags for Megatron-LM, one a line.

    Args:
        args: Args of the release.
        folder: Checkpoint folder.
    """
    (folder / FLAGS_FILE).write_text("".join(f"{flag}\n" for flag in megatron_lm_flags(args)))


def complete_for_megatron_lm(staging: Path, args: argparse.Namespace) -> list[str]:
    """Add the files that Megatron-LM's older readers and its users take from a release.

    Since core 0.19, torch_dist keeps the common state in the ``.distcp`` files, where older readers do not
    look; newer ones still read ``common.pt`` where there is one. It is a copy of what Megatron Core has stored.

    Args:
        staging: The folder, laid out as a root, that holds the release.
        args: Its args.

    Returns:
        The flags that ``--use-checkpoint-args`` leaves to the command line.
    """
    folder = Path(get_checkpoint_name(str(staging), 0, release=True))
    if not (folder / COMMON_STATE).exists():
        save_object(load_common_state_dict(str(folder)), folder / COMMON_STATE)
    write_flags(args, folder)
    return megatron_lm_flags(args, restored=False)


def complete_for_all_readers(folder: Path, let_through: Sequence[str]) -> None:
    """Add what tells of the files: which model they were made of, and their checksums.

    Args:
        folder: Checkpoint folder.
        let_through: What the release lacks of that model, a sentence each.
    """
    named = describe_run_config(folder)
    if named is not None:
        write_source(replace(describe(named.made_of), let_through=tuple(let_through)), folder)
    write_manifest(folder, read_manifest(folder) if (folder / INTEGRITY_FILE).is_file() else {})


def _root(cfg: ConfigContainer) -> str:
    """Return the checkpoint root that the user gave, while the checkpoint is staged too."""
    save = under_way()
    return str(save.root) if save is not None else cfg.checkpoint.save
