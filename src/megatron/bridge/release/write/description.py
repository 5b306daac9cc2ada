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

"""Writes the flags for Megatron-LM, the source model and the checksums of a release."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from megatron.core.dist_checkpointing.serialization import load_common_state_dict

from megatron.bridge.release.compat.megatron_core_api import MultiStorageClientFeature
from megatron.bridge.release.errors import warn
from megatron.bridge.release.layout import FLAGS_FILE, INTEGRITY_FILE
from megatron.bridge.release.manifest import read_manifest, write_manifest
from megatron.bridge.release.megatron_args.args import unsupported_fields
from megatron.bridge.release.megatron_args.flags import megatron_lm_flags
from megatron.bridge.release.source.provenance import SourceModel, describe_model, source_from_run_config, write_source
from megatron.bridge.training.utils.all_ranks import on_rank_0
from megatron.bridge.training.utils.checkpoint_utils import get_checkpoint_name


def warn_of_what_no_flag_gives(model: Any) -> str:
    """Warn where Megatron-LM's own GPT model cannot be made to compute what a model computes.

    Args:
        model: The model provider, with the model's own values.

    Returns:
        What the warning says; empty where there is none.
    """
    lacking = unsupported_fields(model)
    if not lacking:
        return ""
    text = (
        f"Megatron-LM's own GPT model differs from this one: no flag gives it {', '.join(lacking)}. Build the model in your "
        "training script, from the run config of the release, or train it with Megatron-Bridge."
    )
    warn(text)
    return text


def describe_release(path: str | Path, waived: Sequence[str] = (), source_model: SourceModel | None = None) -> None:
    """Add to a release the files that tell of it: flags, source and checksums, these last. Collective.

    On an object store (MultiStorageClient) there are none.

    Args:
        path: Checkpoint root that holds the release.
        waived: Differences from the source model that the user of the import allowed, a sentence each.
        source_model: The model whose weights it contains, unchanged; None if the caller may have trained them.
    """
    if not MultiStorageClientFeature.is_enabled():
        folder = Path(get_checkpoint_name(str(path), 0, release=True))
        on_rank_0(lambda: _describe(folder, waived, source_model))


def _describe(folder: Path, waived: Sequence[str], source_model: SourceModel | None) -> None:
    write_flags(_load_args(folder), folder)
    source = None
    if source_model is not None:
        source = describe_model(source_model)
    elif (named := source_from_run_config(folder)) is not None:
        source = replace(describe_model(named.model, named.revision), tensors_sha256=None)
    if source is not None:
        write_source(replace(source, waived=tuple(waived)), folder)
    write_manifest(folder, read_manifest(folder) if (folder / INTEGRITY_FILE).is_file() else {})


def _load_args(folder: Path) -> argparse.Namespace:
    """Load the args of a release."""
    args: argparse.Namespace = load_common_state_dict(str(folder))["args"]
    return args


def write_flags(args: argparse.Namespace, folder: Path) -> None:
    """Write the model's flags for Megatron-LM, one a line.

    Args:
        args: Args of the release.
        folder: Checkpoint folder.
    """
    (folder / FLAGS_FILE).write_text("".join(f"{flag}\n" for flag in megatron_lm_flags(args)), encoding="utf-8")
