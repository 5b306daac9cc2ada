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

import functools
import inspect
import io
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from megatron.bridge.release.compat.megatron_core_api import MultiStorageClientFeature
from megatron.bridge.release.compat.torch_api import DistError
from megatron.bridge.release.errors import command_line
from megatron.bridge.release.layout import RELEASE
from megatron.bridge.release.validation.output_dir import check_root, destination
from megatron.bridge.release.write.publish import Publication, check_overwrite
from megatron.bridge.release.write.save_context import ReleaseSave, begin
from megatron.bridge.training.utils.all_ranks import on_rank_0
from megatron.bridge.training.utils.checkpoint_utils import (
    file_exists,
    get_checkpoint_tracker_filename,
    read_run_config,
    read_train_state,
)
from megatron.bridge.utils.common_utils import print_rank_0


P = ParamSpec("P")
R = TypeVar("R")


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
        if not release:
            return save(*args, **kwargs)
        if MultiStorageClientFeature.is_enabled():
            return _save_to_object_store(save, call, overwrite)
        return _save_and_publish(save, call, overwrite)

    return wrapper


def _save_to_object_store(save: Callable[..., R], call: inspect.BoundArguments, overwrite: bool) -> R:
    tracker = get_checkpoint_tracker_filename(call.arguments["path"])
    on_rank_0(lambda: _open_object_store_root(call.arguments["path"], tracker, overwrite))
    result = save(*call.args, **call.kwargs)
    on_rank_0(lambda: _write_object(tracker, RELEASE))
    return result


def _save_and_publish(save: Callable[..., R], call: inspect.BoundArguments, overwrite: bool) -> R:
    root = Path(call.arguments["path"])
    on_rank_0(lambda: check_root(root))
    publication = Publication(root)
    staging = Path(on_rank_0(lambda: str(publication.begin(lambda: check_overwrite(root, overwrite)))))
    call.arguments["path"] = staging
    try:
        with begin(ReleaseSave(root, call.arguments.get("source_model"))) as release, _explained(root):
            with ending_on_sigterm(f"nothing is published: {root} is as it was. Import again."):
                result = save(*call.args, **call.kwargs)
            on_rank_0(publication.commit)
    finally:
        publication.end()
    # Both are cached by file name, and the files of that name are new.
    read_run_config.cache_clear()
    read_train_state.cache_clear()
    print_rank_0(_advice(root, release.notes))
    return result


def _advice(root: Path, notes: Sequence[str]) -> str:
    """Return how to start Megatron-LM from a release, in whatever folder that is done."""
    root = Path(os.path.abspath(root))
    return f"Start Megatron-LM from {root} with the command that this prints:\n  {command_line('launch', root)}" + (
        "".join(f"\nNote: {text}" for text in notes)
    )


@contextmanager
def _explained(root: Path) -> Iterator[None]:
    """Let what stops a save say what that means for the root."""
    before = _inode(root / RELEASE)
    try:
        yield
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(f"interrupted, and {_state(root, before)}") from error
    except RuntimeError as error:
        if _is_lost_connection(error):
            raise RuntimeError(
                f"See another rank's own error: it has stopped ({' '.join(str(error).split())}), and "
                f"{_state(root, before)}"
            ) from error
        raise
    except OSError as error:
        # One of a write names no file. Without an errno it is a library's, whose text a filename would replace.
        if error.errno is not None and not isinstance(error, BrokenPipeError):
            error.filename = error.filename or str(root)
        if _inode(root / RELEASE) == before:
            error.add_note(f"{root} is unchanged. Fix the error and run the import again.")
        raise


def _is_lost_connection(error: RuntimeError) -> bool:
    # gloo's errors have no type of their own: they begin with the place in its source.
    return isinstance(error, DistError) or "/gloo/" in str(error)


def _inode(folder: Path) -> int | None:
    try:
        return folder.stat().st_ino
    except OSError:
        return None


def _state(root: Path, before: int | None) -> str:
    """Return whether a stopped save published its release, for ranks that do not know it."""
    if _inode(root / RELEASE) == before:
        return f"nothing is published: {root} is as it was. Import again."
    return f"the release in {root} was published all the same."


@contextmanager
def ending_on_sigterm(outcome: str) -> Iterator[None]:
    """Let SIGTERM end the process as Ctrl-C does, through what clears up; a program's own handler stays.

    Args:
        outcome: What that means for the output, and what to do.
    """

    def end(*_: object) -> None:
        raise SystemExit(f"error: terminated, and {outcome}")

    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def open_tracker_object(filename: str, release: bool) -> Any:
    """Open the tracker that is written to an object store with the other files.

    Args:
        filename: Path of the tracker.
        release: Whether it is a release's, which `publishes_release` writes when all is there.

    Returns:
        A file to write to; for a release, one in memory.
    """
    return io.StringIO() if release else MultiStorageClientFeature.import_package().open(filename, "w")


def _open_object_store_root(root: str | Path, tracker: str, overwrite: bool) -> None:
    """Let a root in an object store be written in place: without a tracker, nobody reads it meanwhile."""
    check_overwrite(root, overwrite)
    if file_exists(tracker):
        MultiStorageClientFeature.import_package().delete(tracker)


def _write_object(filename: str, text: str) -> None:
    with MultiStorageClientFeature.import_package().open(filename, "w") as file:
        file.write(text)
