# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Saves a Megatron model as a release, and publishes it when every file of it is written.

An object store (MultiStorageClient) has no rename: the files go to ``release/`` directly, and the tracker last.
"""

import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from megatron.core.optimizer import OptimizerConfig

from megatron.bridge.models.model_provider import ModelProviderMixin
from megatron.bridge.release.compat.megatron_core_api import MultiStorageClientFeature
from megatron.bridge.release.compat.torch_api import DistError
from megatron.bridge.release.errors import command_line
from megatron.bridge.release.layout import RELEASE, TRACKER
from megatron.bridge.release.source.provenance import SourceModel
from megatron.bridge.release.validation.output_dir import check_overwrite, check_writable, expand_output_dir
from megatron.bridge.release.validation.preflight import check_object_store
from megatron.bridge.release.validation.provider import config_of
from megatron.bridge.release.write.errors import ModelConfigError, OtherRankError, SaveFormatError
from megatron.bridge.release.write.publish import Publication
from megatron.bridge.release.write.sidecar_files import (
    ReleaseFiles,
    release_args,
    warn_unsupported_fields,
    write_release_files,
)
from megatron.bridge.release.write.streaming import weights_of
from megatron.bridge.release.write.writer import ReleaseSaveStrategy
from megatron.bridge.training.checkpointing import save_checkpoint
from megatron.bridge.training.config import CheckpointConfig, ConfigContainer, LoggerConfig
from megatron.bridge.training.state import GlobalState
from megatron.bridge.training.tokenizers.config import TokenizerConfig
from megatron.bridge.training.utils.checkpoint_utils import (
    file_exists,
    get_checkpoint_tracker_filename,
    read_run_config,
    read_train_state,
)
from megatron.bridge.training.utils.collectives import on_rank_0, run_on_all_ranks
from megatron.bridge.utils.common_utils import print_rank_0
from megatron.bridge.utils.host_compat import restore_model_values


_FORMAT = "torch_dist"


def save_release(
    model: list[Any],
    checkpoint_dir: str | Path,
    *,
    overwrite: bool = False,
    ckpt_format: str = _FORMAT,
    tokenizer_path: str | Path | None = None,
    tokenizer_kwargs: Mapping[str, Any] | None = None,
    source_model: SourceModel | None = None,
    waived: Sequence[str] = (),
) -> None:
    """Save a Megatron model as a release, and publish it when it is complete. Collective.

    Args:
        model: The parts of the model.
        checkpoint_dir: The checkpoint directory.
        overwrite: Whether to replace a release that is in it.
        ckpt_format: Checkpoint format that the caller requests.
        tokenizer_path: Model ID, or directory of a model, whose tokenizer files the release gets.
        tokenizer_kwargs: Keywords for loading the tokenizer.
        source_model: The Hugging Face model whose weights it has, unchanged; None if they may have been trained.
        waived: Differences from the source model that the user allowed, a sentence each.

    Raises:
        ReleaseError: If the model or the directory cannot be used.
        OSError: If a file cannot be written.
    """
    checkpoint_dir, config = expand_output_dir(checkpoint_dir), config_of(model)
    if ckpt_format != _FORMAT:
        raise SaveFormatError(ckpt_format)
    if not isinstance(config, ModelProviderMixin):
        raise ModelConfigError(type(config).__name__)
    tokenizer = None
    if tokenizer_path is not None:
        tokenizer = TokenizerConfig(
            tokenizer_type="HuggingFaceTokenizer",
            tokenizer_model=str(tokenizer_path),
            hf_tokenizer_kwargs=dict(tokenizer_kwargs or {}),
        )
    # The release describes the model, not this host.
    model_config = restore_model_values(config)
    notes = [text for text in (warn_unsupported_fields(model_config), *waived) if text]
    args = release_args(model_config, tokenizer, checkpoint_dir)
    with publish_on_exit(checkpoint_dir, overwrite) as output_dir:
        state = GlobalState()
        state.cfg = _save_config(config, tokenizer, output_dir)
        strategy = ReleaseSaveStrategy(model)
        save_checkpoint(
            state,
            model,
            optimizer=None,
            opt_param_scheduler=None,
            num_floating_point_operations_so_far=0,
            # On an object store, Megatron Core's own strategy writes.
            checkpointing_context=None
            if MultiStorageClientFeature.is_enabled()
            else {"save_strategy": strategy.wrap()},
            release_args=args,
        )
        files = ReleaseFiles(checkpoint_dir, state.cfg, args, source_model, waived)
        on_rank_0(lambda: write_release_files(files, output_dir, strategy.common_state, strategy.digests))
        if (weights := weights_of(model)) is not None:
            # The record of the source model describes the files that were converted.
            run_on_all_ranks(weights.files.require_unchanged)
    # Both are cached by file name, and the files of that name are new.
    read_run_config.cache_clear()
    read_train_state.cache_clear()
    path = Path(os.path.abspath(checkpoint_dir))
    print_rank_0(
        f"To print the command that starts Megatron-LM with this checkpoint, run:\n  {command_line('launch', path)}"
        + "".join(f"\nNote: {text}" for text in notes)
    )


def _save_config(model: Any, tokenizer: TokenizerConfig | None, output_dir: str | Path) -> ConfigContainer:
    # A release has neither optimizer nor RNG state.
    checkpoint = CheckpointConfig(
        save=str(output_dir),
        ckpt_format=_FORMAT,
        async_save=False,
        save_optim=False,
        save_rng=False,
        dist_ckpt_optim_fully_reshardable=True,
    )
    # The model may have no tokenizer. The other parts are those of a training.
    optional: dict[str, Any] = {"tokenizer": tokenizer} | dict.fromkeys(
        ("train", "ddp", "scheduler", "dataset", "dist")
    )
    return ConfigContainer(
        model=model,
        checkpoint=checkpoint,
        optimizer=OptimizerConfig(use_distributed_optimizer=False),
        logger=LoggerConfig(),
        **optional,
    )


@contextmanager
def publish_on_exit(checkpoint_dir: str | Path, overwrite: bool) -> Iterator[str | Path]:
    """Yield a directory to write a release into; publish it when the block ends, and remove it when it raises. Collective.

    The directory is laid out as the checkpoint directory will be: no ``iter_0000000`` exists at any moment.

    Args:
        checkpoint_dir: The checkpoint directory, or one in an object store, which is written in place.
        overwrite: Whether to replace a release that is in it.
    """
    if MultiStorageClientFeature.is_enabled():
        tracker = get_checkpoint_tracker_filename(str(checkpoint_dir))
        on_rank_0(lambda: _open_object_store(checkpoint_dir, tracker, overwrite))
        yield checkpoint_dir
        on_rank_0(lambda: _write_object(tracker, RELEASE))
        return
    path = Path(checkpoint_dir)
    publication = Publication(path)

    def begin() -> Path:
        check_writable(path)
        # The preflight of an import has applied the overwrite rule; another process may have published since.
        return publication.begin(lambda: check_overwrite(path, overwrite))

    def commit() -> None:
        (output_dir / TRACKER).write_text(RELEASE, encoding="utf-8")
        publication.commit()

    output_dir = on_rank_0(begin)
    try:
        with _outcome_in_errors(path):
            with exit_on_sigterm(f"Nothing was published; {path} is unchanged. Run the import again."):
                yield output_dir
            on_rank_0(commit)
    finally:
        publication.end()


@contextmanager
def _outcome_in_errors(checkpoint_dir: Path) -> Iterator[None]:
    """Add to errors of a save what became of the checkpoint directory."""
    before = _inode(checkpoint_dir / RELEASE)

    def outcome() -> str:
        # Rank 0 publishes; the other ranks look.
        if _inode(checkpoint_dir / RELEASE) == before:
            return f"Nothing was published; {checkpoint_dir} is unchanged. Run the import again."
        return f"The release in {checkpoint_dir} is complete and was published."

    try:
        yield
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(f"interrupted. {outcome()}") from error
    except RuntimeError as error:
        if _is_lost_connection(error):
            raise OtherRankError(" ".join(str(error).split()), outcome()) from error
        raise
    except OSError as error:
        # Errors of write() have no filename. Those without an errno are a library's: a filename would replace the text.
        if error.errno is not None and not isinstance(error, BrokenPipeError):
            error.filename = error.filename or str(checkpoint_dir)
        if _inode(checkpoint_dir / RELEASE) == before:
            error.add_note(f"{checkpoint_dir} is unchanged. Fix the error and run the import again.")
        raise


def _is_lost_connection(error: RuntimeError) -> bool:
    # gloo's errors have no type of their own: they begin with the place in its source.
    return isinstance(error, DistError) or "/gloo/" in str(error)


def _inode(folder: Path) -> int | None:
    try:
        return folder.stat().st_ino
    except OSError:
        return None


@contextmanager
def exit_on_sigterm(outcome: str) -> Iterator[None]:
    """Raise SystemExit on SIGTERM, so that what was written is removed. A program's own handler stays.

    Args:
        outcome: What that means for the output, and what to do.
    """

    def end(*_: object) -> None:
        raise SystemExit(f"error: terminated. {outcome}")

    is_default = (
        threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    )
    if is_default:
        signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        if is_default:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _open_object_store(checkpoint_dir: str | Path, tracker: str, overwrite: bool) -> None:
    """Remove the tracker, so that no reader loads a release while it is written in place."""
    check_object_store(checkpoint_dir, overwrite)
    if file_exists(tracker):
        MultiStorageClientFeature.import_package().delete(tracker)


def _write_object(filename: str, text: str) -> None:
    with MultiStorageClientFeature.import_package().open(filename, "w") as file:
        file.write(text)
