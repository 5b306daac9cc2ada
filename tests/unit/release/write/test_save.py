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

"""A save that is given ``release=True`` is staged, and published when it is whole."""

import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch.distributed as dist

from megatron.bridge.release.write import save as saving
from megatron.bridge.release.write.save import open_tracker_object, publishes_release
from megatron.bridge.release.write.save_context import note, published_root, write_run_config


@publishes_release
def save(model, path, release=False, overwrite=False, stop=None) -> str:
    """Save what `save_megatron_model` saves, but for the weights."""
    folder = Path(path, "release" if release else "iter_0000000")
    folder.mkdir(parents=True)
    (folder / ".metadata").write_text(str(model))
    Path(path, "latest_train_state.pt").write_text("0")
    Path(path, "latest_checkpointed_iteration.txt").write_text("release" if release else "0")
    note("A note.", "")
    if stop is not None:
        stop()
    return published_root(str(path))


def _names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir()) if root.exists() else []


WHOLE = ["latest_checkpointed_iteration.txt", "latest_train_state.pt", "release"]


def test_a_release_is_published_and_told_of(tmp_path, capsys, monkeypatch):
    root = tmp_path / "a folder" / "root"
    assert save("one", root, release=True) == str(root)
    assert _names(root) == WHOLE and (root / "release/.metadata").read_text() == "one"
    advice = capsys.readouterr().out
    command = f"  python -m megatron.bridge.release launch '{root}'"
    assert advice == f"Start Megatron-LM from {root} with the command that this prints:\n{command}\nNote: A note.\n"
    monkeypatch.chdir(tmp_path)
    save("one", "a folder/other", release=True)
    assert f"\n  python -m megatron.bridge.release launch '{root.parent}/other'\n" in capsys.readouterr().out


def test_any_other_save_is_called_as_it_is(tmp_path, capsys):
    assert save("one", tmp_path) == str(tmp_path)
    assert "iter_0000000" in _names(tmp_path) and not capsys.readouterr().out
    with pytest.raises(ValueError, match="without release=True none is saved"):
        save("one", tmp_path, overwrite=True)


def test_a_release_is_replaced_by_who_says_so(tmp_path):
    save("one", tmp_path, release=True)
    with pytest.raises(ValueError, match="already contains a checkpoint"):
        save("two", tmp_path, release=True)
    save("two", tmp_path, release=True, overwrite=True)
    assert _names(tmp_path) == WHOLE and (tmp_path / "release/.metadata").read_text() == "two"


_GLOO = "/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc"


def _raises(error: BaseException):
    def stop() -> None:
        raise error

    return stop


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt, "interrupted, and nothing is published"),
        (
            RuntimeError(f"[{_GLOO}:561] Connection closed by peer [::1]:7"),
            RuntimeError,
            "See another rank's own error",
        ),
        (RuntimeError(f"[{_GLOO}:534] Die Verbindung wurde beendet"), RuntimeError, r"\(.*beendet\), and nothing is"),
        (
            dist.DistBackendError("[Rank 3] watchdog"),
            RuntimeError,
            r"has stopped \(\[Rank 3\] watchdog\), and nothing",
        ),
        (dist.DistNetworkError("timed out"), RuntimeError, "See another rank's own error"),
        (RuntimeError("Connection closed by peer"), RuntimeError, "^Connection closed by peer$"),
        (RuntimeError("Something else"), RuntimeError, "Something else"),
        (BrokenPipeError("gone"), BrokenPipeError, "gone"),
    ],
)
def test_what_stops_a_save_says_what_became_of_the_root(tmp_path, error, kind, said):
    save("one", tmp_path, release=True)
    with pytest.raises(kind, match=said):
        save("two", tmp_path, release=True, overwrite=True, stop=_raises(error))
    assert _names(tmp_path) == WHOLE and (tmp_path / "release/.metadata").read_text() == "one"


def test_an_error_of_the_disk_names_the_root_and_that_it_is_as_it_was(tmp_path):
    with pytest.raises(OSError) as caught:
        save("one", tmp_path / "root", release=True, stop=_raises(OSError(28, "No space left on device")))
    assert caught.value.filename == str(tmp_path / "root")
    assert caught.value.__notes__ == [f"{tmp_path / 'root'} is unchanged. Fix the error and run the import again."]
    assert not (tmp_path / "root").exists()


def test_a_library_s_oserror_keeps_its_text(tmp_path):
    """transformers, requests and huggingface_hub raise them without an errno: a filename would replace their text."""
    with pytest.raises(OSError) as caught:
        save("one", tmp_path / "root", release=True, stop=_raises(OSError("Can't load tokenizer for 'org/model'")))
    assert str(caught.value) == "Can't load tokenizer for 'org/model'"
    assert (caught.value.errno, caught.value.filename) == (None, None)
    assert caught.value.__notes__ == [f"{tmp_path / 'root'} is unchanged. Fix the error and run the import again."]


def test_sigterm_ends_a_save_through_what_clears_up(tmp_path):
    with pytest.raises(SystemExit, match="terminated, and nothing is published"):
        save("one", tmp_path, release=True, stop=lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert _names(tmp_path) == []
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_run_config_names_the_place_where_it_is_published(tmp_path):
    cfg = SimpleNamespace(checkpoint=SimpleNamespace(save="staging"))
    cfg.to_yaml = lambda filename: None
    write_run_config(cfg, tmp_path / "run_config.yaml")
    assert cfg.checkpoint.save == "staging"


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


def test_an_object_store_has_no_tracker_while_its_root_is_written(tmp_path, monkeypatch):
    store, text = _Store(), tmp_path / "latest_checkpointed_iteration.txt"
    save("one", tmp_path, release=True)
    monkeypatch.setattr(saving.MultiStorageClientFeature, "is_enabled", lambda: True)
    monkeypatch.setattr(saving.MultiStorageClientFeature, "import_package", lambda: store)
    monkeypatch.setattr(saving, "file_exists", os.path.exists)
    seen = []

    @publishes_release
    def write(model, path, release=False, overwrite=False) -> None:
        seen.append(text.exists())
        with open_tracker_object(str(text), release) as file:
            file.write("release")
        seen.append(text.exists())

    with monkeypatch.context() as patched:
        patched.setattr(saving, "check_overwrite", lambda root, overwrite: None)
        write("two", str(tmp_path), release=True, overwrite=True)
    assert seen == [False, False] and store.deleted == [str(text)] and text.read_text() == "release"
    with open_tracker_object(str(text), release=False) as file:
        file.write("0")
    assert text.read_text() == "0"
