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

"""Finds the checkpoint folder that a checkpoint root stands for.

A checkpoint root is the folder a user names. It holds checkpoint folders (``release/``,
``iter_0000100/``) and the tracker ``latest_checkpointed_iteration.txt``, whose text is ``release``
or an iteration number. Megatron-LM and Megatron-Bridge both write that tracker, Bridge last of all,
so it decides. ``latest_train_state.pt`` speaks only where there is no text tracker, as Bridge left
it before 0.2.

No function here is collective: each rank may call it alone. Ranks that load one checkpoint together go by what rank 0
sees (`megatron.bridge.training.checkpointing.find_checkpoint_folder`).
"""

import os

from megatron.core.msc_utils import maybe_msc

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
    """Read a text tracker as it is.

    Args:
        tracker_filename: Path of a ``latest_checkpointed_iteration.txt``.

    Returns:
        What it holds.
    """
    with maybe_msc.open(tracker_filename, "r") as tracker:
        return str(tracker.read())


def checkpoint_folders(root: str) -> list[str]:
    """List the checkpoint folders of a root; half-written and foreign ones do not match.

    Args:
        root: Checkpoint root; it need not exist.

    Returns:
        Their names, sorted.
    """
    path = maybe_msc.Path(root)
    if not path.is_dir():
        return []
    return sorted(child.name for child in path.iterdir() if child.is_dir() and is_checkpoint_folder(child.name))


def read_tracker(root: str) -> tuple[int, bool] | None:
    """Return the checkpoint that the trackers of a root name.

    Args:
        root: Checkpoint root.

    Returns:
        The iteration (0 for a release) and whether it is a release checkpoint; None where the root has
        no tracker.

    Raises:
        ValueError: If the tracker is torn, empty, or holds anything else.
    """
    text_tracker = get_checkpoint_tracker_filename(root)
    if file_exists(text_tracker):
        return parse_tracker(tracker_text(text_tracker), text_tracker)
    train_state = get_checkpoint_train_state_filename(root, prefix=TRACKER_PREFIX)
    if file_exists(train_state):
        try:
            return int(maybe_msc.torch.load(train_state, map_location="cpu", weights_only=True)["step"]), False
        except Exception as error:
            # torch raises many kinds for a file that is not whole.
            raise ValueError(
                f"The tracker {train_state} cannot be read ({error}). Write the number of the iter_* folder to load "
                f"into {text_tracker}."
            ) from error
    return None


def checkpoint_folder(root: str, iteration: int, release: bool) -> str:
    """Return the folder of a checkpoint that a tracker named, which must be there.

    Args:
        root: Checkpoint root.
        iteration: Iteration number; not used for a release.
        release: Whether it is the release checkpoint.

    Returns:
        Path of the checkpoint folder.

    Raises:
        FileNotFoundError: If there is no such folder. The message lists the checkpoint folders there are.
    """
    folder = get_checkpoint_name(root, iteration, release=release)
    if not file_exists(folder):
        raise FileNotFoundError(missing_folder(folder))
    return folder


def missing_folder(folder: str) -> str:
    """Return the message that a tracker names a checkpoint folder which is not there, with those that are.

    Args:
        folder: Path of the checkpoint folder.
    """
    root, name = os.path.split(folder)
    there = ", ".join(checkpoint_folders(root)) or "none"
    return (
        f"The tracker of {root} names the checkpoint {name}, which is not there. Checkpoint folders there: {there}. "
        "Restore the folder, or let the tracker name one of them."
    )


def resolve_checkpoint_folder(path: str | os.PathLike[str]) -> str:
    """Resolve a checkpoint root, or a checkpoint folder, to the checkpoint folder.

    Args:
        path: Checkpoint root or checkpoint folder.

    Returns:
        ``path`` itself where it is a checkpoint folder; else the folder that its tracker names; else,
        where there is no tracker, its ``iter_*`` folder of the highest number; else ``path``.

    Raises:
        ValueError: If the tracker is torn, empty, or holds anything else.
        FileNotFoundError: If the tracker names a folder that is not there.
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
    """Resolve a checkpoint root, or a checkpoint folder, to the folder whose run config describes the model.

    Megatron-LM writes no ``run_config.yaml``. An ``iter_*`` folder that it saved beside a release holds the
    release's model, trained further.

    Args:
        path: Checkpoint root or checkpoint folder.

    Returns:
        The checkpoint folder; the release beside it where the folder has no run config and the release has one.

    Raises:
        ValueError: If the tracker is torn, empty, or holds anything else.
        FileNotFoundError: If the tracker names a folder that is not there.
    """
    folder = resolve_checkpoint_folder(path)
    root, _, name = folder.rstrip("/").rpartition("/")
    if ITERATION_FOLDER.fullmatch(name) and not file_exists(get_checkpoint_run_config_filename(folder)):
        release = get_checkpoint_name(root or ".", 0, release=True)
        if file_exists(get_checkpoint_run_config_filename(release)):
            return release
    return folder
