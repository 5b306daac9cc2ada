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

"""Writes a converted model as the release checkpoint that Megatron-LM fine-tunes from.

The checkpoint is written natively, into a staging folder that is laid out as the checkpoint root will be, and
published when every file is in it (`publishing`): no ``iter_0000000`` exists at any moment.

An object store (MultiStorageClient) has no rename: the files go to ``release/`` directly, and the tracker last.
"""

import argparse
import functools
import inspect
import io
import logging
import os
import shlex
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, ParamSpec, TypeVar

import torch
from megatron.core.dist_checkpointing.dict_utils import nested_values
from megatron.core.dist_checkpointing.serialization import load_common_state_dict
from megatron.core.dist_checkpointing.strategies.fully_parallel import FullyParallelSaveStrategyWrapper
from megatron.core.msc_utils import MultiStorageClientFeature
from megatron.core.process_groups_config import ProcessGroupCollection
from megatron.core.utils import get_model_config

from megatron.bridge.training.config import ConfigContainer
from megatron.bridge.training.megatron_lm_args import megatron_lm_args, megatron_lm_flags, without_argument
from megatron.bridge.training.release.destination import destination
from megatron.bridge.training.release.entry_file import require_numbers
from megatron.bridge.training.release.streaming import weights_of
from megatron.bridge.training.release.writing import ReleaseSaveStrategy, together
from megatron.bridge.training.utils.checkpoint_root import on_rank_0
from megatron.bridge.training.utils.checkpoint_utils import (
    file_exists,
    get_checkpoint_name,
    get_checkpoint_tracker_filename,
    read_run_config,
    read_train_state,
)
from megatron.bridge.training.utils.import_checks import check_root
from megatron.bridge.training.utils.pg_utils import get_pg_collection
from megatron.bridge.training.utils.publishing import Publication, check_overwrite
from megatron.bridge.training.utils.transformer_engine_keys import add_transformer_engine_keys
from megatron.bridge.utils.common_utils import print_rank_0, warn_rank_0
from megatron.bridge.utils.host import model_values
from megatron.bridge_release.integrity import read_manifest, write_manifest
from megatron.bridge_release.layout import COMMON_STATE, FLAGS_FILE, INTEGRITY_FILE, RELEASE, STAGING_PREFIX
from megatron.bridge_release.source import describe, describe_run_config, write_source


logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


class TokenizerNotSaved(RuntimeError):
    """Rank 0, which saves a release's tokenizer, could not; the other ranks do not know of it yet."""


def publishes_release(save: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function that saves to ``path`` so that ``release=True`` publishes what it saved.

    With ``release=True`` the function gets a staging folder as its ``path``; what it leaves there is
    published to the caller's ``path`` when it returns, and removed when it raises. With
    ``release=False``, and on an object store, it is called as it is. Collective, as the function is.

    Args:
        save: The function. It has a parameter ``path`` and a parameter ``release``.

    Returns:
        The decorated function.
    """
    signature = inspect.signature(save)

    @functools.wraps(save)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        call = signature.bind(*args, **kwargs)
        release, overwrite = (call.arguments.get(name, False) for name in ("release", "overwrite"))
        call.arguments["path"] = destination(call.arguments["path"], release, overwrite)
        torch_dist = call.arguments.get("ckpt_format", "torch_dist") == "torch_dist"
        if weights_of(call.arguments["model"]) is not None and not (release and torch_dist):
            # Another writer would write what its memory holds, which is nothing.
            raise ValueError(
                "The weights of this model are in its Hugging Face files still: save it with release=True."
            )
        if not release:
            return save(*args, **kwargs)
        if MultiStorageClientFeature.is_enabled():
            tracker = get_checkpoint_tracker_filename(call.arguments["path"])
            on_rank_0(lambda: _open_object_store_root(call.arguments["path"], tracker, overwrite))
            result = save(*args, **kwargs)
            on_rank_0(lambda: _write_object(tracker, RELEASE))
            return result

        root = Path(call.arguments["path"])
        on_rank_0(lambda: check_root(root))
        publication = Publication(root)
        staging = Path(on_rank_0(lambda: str(publication.begin(lambda: check_overwrite(root, overwrite)))))
        call.arguments["path"] = staging
        before = _inode(root / RELEASE)
        try:
            lacking = warn_of_what_no_flag_gives(get_model_config(call.arguments["model"][0]))
            if torch_dist:
                # The writer of a release copies nothing that could be freed.
                call.arguments["low_memory_save"] = False
            not_saved = None
            try:
                with _ending_on_sigterm(root):
                    result = save(*call.args, **call.kwargs)
            except TokenizerNotSaved as error:
                not_saved = error
            if call.arguments.get("hf_tokenizer_path") is not None:
                on_rank_0(lambda: _require_tokenizer(staging, not_saved))
            flags = None
            if torch_dist:
                flags = on_rank_0(lambda: _complete_for_megatron_lm(staging))
            let_through = call.arguments.get("let_through", ())
            on_rank_0(lambda: _complete_for_all_readers(staging / RELEASE, let_through))
            on_rank_0(publication.commit)
        except KeyboardInterrupt as error:
            raise KeyboardInterrupt(f"interrupted, and {_state(root, before)}") from error
        except RuntimeError as error:
            if "Connection closed by peer" in str(error) or "Connection reset by peer" in str(error):
                raise RuntimeError(
                    f"See another rank's own error: it has stopped, and {_state(root, before)}"
                ) from error
            raise
        except OSError as error:
            # One of a write names no file.
            if not isinstance(error, BrokenPipeError):
                error.filename = error.filename or str(root)
            if _inode(root / RELEASE) == before:
                error.add_note(f"{root} is as it was; import again when this is mended.")
            raise
        finally:
            publication.end()
        # Both are cached by file name, and the files of that name are new.
        read_run_config.cache_clear()
        read_train_state.cache_clear()
        if flags is not None:
            print_rank_0(
                f"Start Megatron-LM from {root} with:\n"
                f"  --load {shlex.quote(str(root))} --exit-on-missing-checkpoint --use-checkpoint-args {' '.join(flags)}\n"
                f"or with the flags in {get_checkpoint_name(str(root), 0, release=True)}/{FLAGS_FILE}"
                + "".join(f"\nNote: {text}" for text in (lacking, *call.arguments.get("let_through", ())) if text)
            )
        return result

    return wrapper


def _inode(folder: Path) -> int | None:
    try:
        return folder.stat().st_ino
    except OSError:
        return None


def _state(root: Path, before: int | None) -> str:
    """Say, after a save that was stopped, whether its release stands, which no rank but the first was told."""
    if _inode(root / RELEASE) == before:
        return f"nothing is published: {root} is as it was. Import again."
    return f"the release in {root} was published all the same."


@contextmanager
def _ending_on_sigterm(root: Path) -> Iterator[None]:
    """Let SIGTERM end the process as Ctrl-C does, through what clears up; a program's own handler stays."""

    def end(*_: object) -> None:
        raise SystemExit(f"error: terminated, and nothing is published: {root} is as it was. Import again.")

    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def checkpointing_context(model: list[Any], ckpt_format: str, release: bool) -> dict[str, Any] | None:
    """Give `save_checkpoint` what writes a release.

    Args:
        model: The model.
        ckpt_format: Format of the checkpoint.
        release: Whether it is a release.

    Returns:
        The context; None where Megatron Core's own writer is to write: no release, another format, or an object
        store.
    """
    weights = weights_of(model)
    if not release or ckpt_format != "torch_dist" or MultiStorageClientFeature.is_enabled():
        return None
    strategy: Any = ReleaseSaveStrategy(weights)
    if weights is None:
        # What several ranks hold is written by one of them, each its share.
        groups = get_pg_collection(model) if model else ProcessGroupCollection.use_mpu_process_groups(["dp_cp"])
        strategy = FullyParallelSaveStrategyWrapper(strategy, groups.dp_cp)
    return {"save_strategy": strategy}


def prepare_release_state_dict(state_dict: dict[str, Any], cfg: ConfigContainer) -> None:
    """Add to a state dict what a release checkpoint holds beyond an iteration's.

    Args:
        state_dict: The state dict to be saved, changed in place.
        cfg: The configuration that is saved with it.
    """
    with model_values(cfg.model):
        state_dict["args"] = release_args(cfg.model, cfg.checkpoint.ckpt_format, cfg.tokenizer, _published_root(cfg))
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
    with model_values(model):
        lacking = without_argument(model)
    if not lacking:
        return ""
    text = (
        f"Megatron-LM's own GPT model differs from this one: no flag gives it {', '.join(lacking)}. Build the model in your "
        "training script (the README's Limits say how, for a rope scaling factor), or train it with Megatron-Bridge."
    )
    warn_rank_0(text)
    return text


def write_run_config(cfg: ConfigContainer, filename: str) -> None:
    """Write ``run_config.yaml`` as it describes the model and the checkpoint's place, not this host.

    Args:
        cfg: The configuration to write.
        filename: Path of the file.
    """
    saved_to = cfg.checkpoint.save
    try:
        cfg.checkpoint.save = _published_root(cfg)
        with model_values(cfg.model):
            cfg.to_yaml(filename)
    finally:
        cfg.checkpoint.save = saved_to


def save_object(state: object, filename: str | Path) -> None:
    """Save as `torch.save` does, which names no error of the operating system where it opens the file itself.

    Args:
        state: What to save.
        filename: Path of the file.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    Path(filename).write_bytes(buffer.getbuffer())


def open_tracker_object(filename: str, release: bool) -> Any:
    """Open the tracker that is written to an object store with the other files.

    Args:
        filename: Path of the tracker.
        release: Whether it is a release's, which `publishes_release` writes when all is there.

    Returns:
        A file to write to; for a release, one that takes what is written and keeps nothing.
    """
    return open(os.devnull, "w") if release else MultiStorageClientFeature.import_package().open(filename, "w")


def _open_object_store_root(root: str | Path, tracker: str, overwrite: bool) -> None:
    """Let a root in an object store be written in place: without a tracker, nobody reads it meanwhile."""
    check_overwrite(root, overwrite)
    if file_exists(tracker):
        MultiStorageClientFeature.import_package().delete(tracker)


def _write_object(filename: str, text: str) -> None:
    with MultiStorageClientFeature.import_package().open(filename, "w") as file:
        file.write(text)


def write_flags(args: argparse.Namespace, folder: Path) -> None:
    """Write the model's flags for Megatron-LM, one a line.

    Args:
        args: Args of the release.
        folder: Checkpoint folder.
    """
    (folder / FLAGS_FILE).write_text("".join(f"{flag}\n" for flag in megatron_lm_flags(args)))


def _published_root(cfg: ConfigContainer) -> str:
    """Tell the checkpoint root that the user gave, while the checkpoint is staged too."""
    root = cfg.checkpoint.save
    return os.path.dirname(root) if root and os.path.basename(root).startswith(STAGING_PREFIX) else root


def _complete_for_megatron_lm(staging: Path) -> list[str]:
    """Add the files that Megatron-LM's older readers and its users take from a release.

    Since core 0.19, torch_dist keeps the common state in the ``.distcp`` files, where older readers do not
    look; newer ones still read ``common.pt`` where there is one.

    Returns:
        The flags that ``--use-checkpoint-args`` leaves to the command line.
    """
    folder = Path(get_checkpoint_name(str(staging), 0, release=True))
    common_state = load_common_state_dict(str(folder))
    if not (folder / COMMON_STATE).exists():
        save_object(common_state, folder / COMMON_STATE)
    args = common_state["args"]
    write_flags(args, folder)
    return megatron_lm_flags(args, restored=False)


def _complete_for_all_readers(folder: Path, let_through: Sequence[str]) -> None:
    """Add what tells of the files: which model they were made of, and their checksums."""
    named = describe_run_config(folder)
    if named is not None:
        write_source(replace(describe(named.made_of), let_through=tuple(let_through)), folder)
    write_manifest(folder, read_manifest(folder) if (folder / INTEGRITY_FILE).is_file() else {})


def _require_tokenizer(staging: Path, not_saved: TokenizerNotSaved | None) -> None:
    """Refuse a release without its tokenizer."""
    if not_saved is not None:
        raise not_saved
    tokenizer = Path(get_checkpoint_name(str(staging), 0, release=True)) / "tokenizer"
    if not tokenizer.is_dir() or not any(tokenizer.iterdir()):
        raise RuntimeError("The tokenizer could not be saved, so nothing is published; the log says why.")
