# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Resolves a checkpoint directory to the checkpoint that its tracker names.

A checkpoint directory contains ``release/``, iteration directories such as ``iter_0000100/``, and the tracker
``latest_checkpointed_iteration.txt``: the text ``release``, or an iteration number. Megatron-LM and Megatron-Bridge both
write this tracker, Bridge as the last file, so it decides. ``latest_train_state.pt`` counts only if there is no text
tracker, as before Bridge 0.2.

No function here is collective. Ranks that load a checkpoint together use the result of rank 0
(`megatron.bridge.training.checkpointing.find_checkpoint_folder`).
"""

import os

from megatron.bridge.release.compat.megatron_core_api import maybe_msc
from megatron.bridge.release.layout import ITERATION_FOLDER, is_checkpoint_folder, parse_tracker
from megatron.bridge.training.utils.checkpoint_utils import (
    TRACKER_PREFIX,
    file_exists,
    get_checkpoint_name,
    get_checkpoint_run_config_filename,
    get_checkpoint_tracker_filename,
    get_checkpoint_train_state_filename,
    is_checkpoint_iteration_directory,
)


def tracker_text(tracker_filename: str) -> str:
    """Return the text of a tracker, unchanged."""
    with maybe_msc.open(tracker_filename, "r") as tracker:
        return str(tracker.read())


def checkpoint_folders(root: str) -> list[str]:
    """Return the sorted names of the checkpoints in a checkpoint directory, which need not exist."""
    path = maybe_msc.Path(root)
    if not path.is_dir():
        return []
    return sorted(child.name for child in path.iterdir() if child.is_dir() and is_checkpoint_folder(child.name))


def read_tracker(root: str) -> tuple[int, bool] | None:
    """Return the iteration that the tracker names (0 for a release), and whether it is a release; None without a tracker.

    Raises:
        ValueError: If the tracker is corrupt.
    """
    text_tracker = get_checkpoint_tracker_filename(root)
    if file_exists(text_tracker):
        return parse_tracker(tracker_text(text_tracker), text_tracker)
    train_state = get_checkpoint_train_state_filename(root, prefix=TRACKER_PREFIX)
    if file_exists(train_state):
        try:
            return int(maybe_msc.torch.load(train_state, map_location="cpu", weights_only=True)["step"]), False
        except Exception as error:
            # torch raises errors of many types for a corrupt file.
            raise ValueError(
                f"Cannot read the tracker {train_state} ({error}). Write the number of the iteration directory to load into "
                f"{text_tracker}."
            ) from error
    return None


def checkpoint_folder(root: str, iteration: int, release: bool) -> str:
    """Return the path of a checkpoint that a tracker names.

    Raises:
        FileNotFoundError: If it does not exist. The message lists the existing checkpoints.
    """
    folder = get_checkpoint_name(root, iteration, release=release)
    if not file_exists(folder):
        raise FileNotFoundError(missing_folder(folder))
    return folder


def missing_folder(folder: str) -> str:
    """Return the message that a tracker names a checkpoint that does not exist."""
    root, name = os.path.split(folder)
    found = ", ".join(checkpoint_folders(root)) or "none"
    return (
        f"The tracker in {root} names {name}, which does not exist (found: {found}). Restore it, or write an existing checkpoint "
        "into latest_checkpointed_iteration.txt."
    )


def resolve_checkpoint_folder(path: str | os.PathLike[str]) -> str:
    """Return the checkpoint that a checkpoint directory, or a checkpoint itself, stands for.

    Returns:
        ``path`` if it is a checkpoint; else the checkpoint that its tracker names; else, without a tracker, the iteration
        directory with the highest number; else ``path``.

    Raises:
        ValueError: If the tracker is corrupt.
        FileNotFoundError: If the tracker names a checkpoint that does not exist.
    """
    root = str(path)
    if is_checkpoint_iteration_directory(root):
        return root
    tracked = read_tracker(root)
    if tracked is not None:
        return checkpoint_folder(root, *tracked)
    iterations = [int(match[1]) for name in checkpoint_folders(root) if (match := ITERATION_FOLDER.fullmatch(name))]
    return get_checkpoint_name(root, max(iterations)) if iterations else root


def resolve_run_config_folder(path: str | os.PathLike[str]) -> str:
    """Return the checkpoint whose run config describes the model of ``path``.

    Megatron-LM writes no ``run_config.yaml``. For a training checkpoint without one, it is the release next to it.

    Raises: as `resolve_checkpoint_folder`.
    """
    folder = resolve_checkpoint_folder(path)
    root, _, name = folder.rstrip("/").rpartition("/")
    if ITERATION_FOLDER.fullmatch(name) and not file_exists(get_checkpoint_run_config_filename(folder)):
        release = get_checkpoint_name(root or ".", 0, release=True)
        if file_exists(get_checkpoint_run_config_filename(release)):
            return release
    return folder
