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

"""A release is staged, and published when it is complete."""

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch.distributed as dist

from megatron.bridge.release.validation.errors import CheckpointExistsError
from megatron.bridge.release.write import save as saving
from megatron.bridge.release.write.errors import OtherRankError
from megatron.bridge.release.write.save import publish_on_exit


def save(content: str, path: Path, overwrite: bool = False, stop: Callable[[], None] | None = None) -> None:
    """Publish a small release."""
    with publish_on_exit(path, overwrite) as staging:
        (staging / "release").mkdir()
        (staging / "release/.metadata").write_text(content)
        (staging / "latest_train_state.pt").write_text("0")
        if stop is not None:
            stop()


def _names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir()) if root.exists() else []


WHOLE = ["latest_checkpointed_iteration.txt", "latest_train_state.pt", "release"]


def test_release_is_published_with_tracker(tmp_path):
    root = tmp_path / "a folder" / "root"
    save("one", root)
    assert _names(root) == WHOLE and (root / "release/.metadata").read_text() == "one"
    assert (root / "latest_checkpointed_iteration.txt").read_text() == "release"


def test_release_is_replaced_only_with_overwrite(tmp_path):
    save("one", tmp_path)
    with pytest.raises(CheckpointExistsError):
        save("two", tmp_path)
    save("two", tmp_path, overwrite=True)
    assert _names(tmp_path) == WHOLE and (tmp_path / "release/.metadata").read_text() == "two"


_GLOO = "/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc"


def _raises(error: BaseException):
    def stop() -> None:
        raise error

    return stop


# The reason in an `OtherRankError`, or the text of an error that is not ours.
@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt, "interrupted. Nothing was published"),
        (
            RuntimeError(f"[{_GLOO}:561] Connection closed by peer [::1]:7"),
            OtherRankError,
            f"[{_GLOO}:561] Connection closed by peer [::1]:7",
        ),
        (
            RuntimeError(f"[{_GLOO}:534] Die Verbindung wurde beendet"),
            OtherRankError,
            f"[{_GLOO}:534] Die Verbindung wurde beendet",
        ),
        (dist.DistBackendError("[Rank 3] watchdog"), OtherRankError, "[Rank 3] watchdog"),
        (dist.DistNetworkError("timed out"), OtherRankError, "timed out"),
        (RuntimeError("Connection closed by peer"), RuntimeError, "^Connection closed by peer$"),
        (RuntimeError("Something else"), RuntimeError, "Something else"),
        (BrokenPipeError("gone"), BrokenPipeError, "gone"),
    ],
)
def test_interrupted_save_keeps_release_and_reports_cause(tmp_path, error, kind, text):
    save("one", tmp_path)
    with pytest.raises(kind) as raised:
        save("two", tmp_path, overwrite=True, stop=_raises(error))
    assert type(raised.value) is kind
    if kind is OtherRankError:
        assert raised.value.reason == text and f"{tmp_path} is unchanged" in raised.value.outcome
    else:
        assert re.search(text, str(raised.value))
    assert _names(tmp_path) == WHOLE and (tmp_path / "release/.metadata").read_text() == "one"


def test_disk_error_names_the_unchanged_directory(tmp_path):
    with pytest.raises(OSError) as caught:
        save("one", tmp_path / "root", stop=_raises(OSError(28, "No space left on device")))
    assert caught.value.filename == str(tmp_path / "root")
    assert caught.value.__notes__ == [f"{tmp_path / 'root'} is unchanged. Fix the error and run the import again."]
    assert not (tmp_path / "root").exists()


def test_library_oserror_keeps_text(tmp_path):
    """transformers, requests and huggingface_hub raise them without an errno: a filename would replace their text."""
    with pytest.raises(OSError) as caught:
        save("one", tmp_path / "root", stop=_raises(OSError("Can't load tokenizer for 'org/model'")))
    assert str(caught.value) == "Can't load tokenizer for 'org/model'"
    assert (caught.value.errno, caught.value.filename) == (None, None)
    assert caught.value.__notes__ == [f"{tmp_path / 'root'} is unchanged. Fix the error and run the import again."]


def test_sigterm_during_save_leaves_no_leftovers(tmp_path):
    with pytest.raises(SystemExit, match="terminated. Nothing was published"):
        save("one", tmp_path, stop=lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert _names(tmp_path) == []
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


class _Store:
    """An object store in a folder."""

    Path = Path

    def __init__(self) -> None:
        self.deleted: list[str] = []

    def open(self, filename: str, mode: str):
        return open(filename, mode)

    def delete(self, filename: str) -> None:
        self.deleted.append(filename)
        os.unlink(filename)


def test_object_store_has_no_tracker_during_save(tmp_path, monkeypatch):
    store, tracker = _Store(), tmp_path / "latest_checkpointed_iteration.txt"
    save("one", tmp_path)
    monkeypatch.setattr(saving.MultiStorageClientFeature, "is_enabled", lambda: True)
    monkeypatch.setattr(saving.MultiStorageClientFeature, "import_package", lambda: store)
    monkeypatch.setattr(saving, "file_exists", os.path.exists)
    monkeypatch.setattr(saving, "check_object_store", lambda path, overwrite: None)
    with publish_on_exit(str(tmp_path), True) as path:
        assert path == str(tmp_path) and not tracker.exists()
    assert store.deleted == [str(tracker)] and tracker.read_text() == "release"
    with pytest.raises(OSError, match="full"), publish_on_exit(str(tmp_path), True):
        raise OSError("full")
    assert not tracker.exists()
