# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Writes the files of a release beside its weights, each once, from values in memory."""

import argparse
import copy
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from megatron.bridge.release.compat.megatron_core_api import MultiStorageClientFeature, maybe_msc
from megatron.bridge.release.errors import warn
from megatron.bridge.release.layout import COMMON_STATE, FLAGS_FILE, RELEASE, TOKENIZER
from megatron.bridge.release.manifest import write_manifest
from megatron.bridge.release.megatron_args.args import megatron_lm_args, unsupported_fields
from megatron.bridge.release.megatron_args.flag_format import megatron_lm_flags
from megatron.bridge.release.source.provenance import SourceModel, SourceRecord, describe_model, write_source
from megatron.bridge.release.write.errors import UnsupportedFieldsWarning
from megatron.bridge.release.write.tokenizer import copy_tokenizer
from megatron.bridge.training.config import ConfigContainer
from megatron.bridge.training.state import TrainState
from megatron.bridge.training.utils.checkpoint_utils import (
    TRACKER_PREFIX,
    get_checkpoint_run_config_filename,
    get_checkpoint_train_state_filename,
)


@dataclass(frozen=True)
class ReleaseFiles:
    """Contents of the files of a release beside its weights.

    Attributes:
        checkpoint_dir: The checkpoint directory where the release is published.
        config: The configuration for ``run_config.yaml``.
        args: Megatron-LM's args.
        source_model: The model whose weights it contains, unchanged; None if the caller may have trained them.
        waived: Differences from the source model that the user allowed, a sentence each.
    """

    checkpoint_dir: str | Path
    config: ConfigContainer
    args: argparse.Namespace
    source_model: SourceModel | None = None
    waived: Sequence[str] = ()


def release_args(model: Any, tokenizer: Any, checkpoint_dir: str | Path) -> argparse.Namespace:
    """Return Megatron-LM's args of a release.

    Args:
        model: The model provider, with the model's own values.
        tokenizer: The tokenizer's config, if any.
        checkpoint_dir: The checkpoint directory where the release is published.
    """
    args = megatron_lm_args(model)
    if tokenizer is not None:
        args.tokenizer_type = tokenizer.tokenizer_type
        args.tokenizer_model = tokenizer.tokenizer_model
        if os.path.isdir(tokenizer.tokenizer_model) or os.path.isabs(tokenizer.tokenizer_model):
            # The directory of the model may be removed later; the copy stays with the checkpoint.
            args.tokenizer_model = os.path.join(os.path.abspath(checkpoint_dir), RELEASE, TOKENIZER)
    return args


def warn_unsupported_fields(model: Any) -> str:
    """Warn if no flag of Megatron-LM sets a field of a model provider; return the warning, or an empty string."""
    fields = unsupported_fields(model)
    if not fields:
        return ""
    warning = UnsupportedFieldsWarning(tuple(fields))
    warn(warning)
    return str(warning)


def write_release_files(
    files: ReleaseFiles, output_dir: str | Path, common_state: Mapping[str, Any] | None, digests: Mapping[str, str]
) -> None:
    """Write the files of a release beside its weights, the manifest last. An object store gets those of upstream alone.

    Args:
        files: Their contents.
        output_dir: The staging directory, or the object store.
        common_state: The common state that Megatron Core has stored; None if it has written ``common.pt``.
        digests: SHA-256 of files that have been written.
    """
    folder = os.path.join(str(output_dir), RELEASE)
    tokenizer, train_state = files.config.tokenizer, TrainState().state_dict()
    if tokenizer is not None:
        copy_tokenizer(tokenizer.tokenizer_model, tokenizer.hf_tokenizer_kwargs or {}, folder)
    save_object(train_state, get_checkpoint_train_state_filename(folder))
    save_object(train_state, get_checkpoint_train_state_filename(str(output_dir), prefix=TRACKER_PREFIX))
    _published_config(files).to_yaml(get_checkpoint_run_config_filename(folder))
    if MultiStorageClientFeature.is_enabled():
        return
    if common_state is not None:
        # For Megatron-LM before core 0.19, which does not find it in the .distcp files.
        save_object(common_state, os.path.join(folder, COMMON_STATE))
    write_flags(files.args, Path(folder))
    if (source := _source(files)) is not None:
        write_source(replace(source, waived=tuple(files.waived)), Path(folder))
    write_manifest(Path(folder), digests)


def write_flags(args: argparse.Namespace, folder: Path) -> None:
    """Write the flags of a model for Megatron-LM, one per line, into a release."""
    (folder / FLAGS_FILE).write_text("".join(f"{flag}\n" for flag in megatron_lm_flags(args)), encoding="utf-8")


def save_object(state: object, filename: str | Path) -> None:
    """Save as `torch.save`, which does not report the errors of the operating system for a file that it opens itself."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with maybe_msc.open(str(filename), "wb") as file:
        file.write(buffer.getbuffer())


def _published_config(files: ReleaseFiles) -> ConfigContainer:
    """Return the configuration with the published directory, and with the model ID and commit of a model of the Hub."""
    config = copy.copy(files.config)
    config.checkpoint = copy.copy(config.checkpoint)
    config.checkpoint.save = str(files.checkpoint_dir)
    model, tokenizer = files.source_model, config.tokenizer
    if model is not None and model.commit and tokenizer and tokenizer.tokenizer_model == str(model.folder):
        config.tokenizer = copy.copy(tokenizer)
        config.tokenizer.tokenizer_model = model.name
        config.tokenizer.hf_tokenizer_kwargs = {**(tokenizer.hf_tokenizer_kwargs or {}), "revision": model.commit}
    return config


def _source(files: ReleaseFiles) -> SourceRecord | None:
    if files.source_model is not None:
        return describe_model(files.source_model)
    model = files.config.model
    name = getattr(model, "hf_model_id", None)
    if not isinstance(name, str) or not name:
        return None
    # The caller may have trained the weights.
    return replace(describe_model(name, getattr(model, "hf_model_revision", None)), tensors_sha256=None)
