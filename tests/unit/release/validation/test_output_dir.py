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


"""Where a converted model is saved to."""

import os
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from megatron.bridge.release.errors import ReleaseNotDirectoryError
from megatron.bridge.release.layout import METADATA, RELEASE, TRACKER
from megatron.bridge.release.manifest import write_manifest
from megatron.bridge.release.source.provenance import SourceModel, SourceRecord, write_source
from megatron.bridge.release.validation.errors import (
    ForeignFilesError,
    OutputPathError,
    OverwriteWithoutReleaseError,
    TrainedFromReleaseError,
)
from megatron.bridge.release.validation.output_dir import (
    check_output_dir,
    check_trained,
    check_writable,
    expand_output_dir,
)
from megatron.bridge.training.model_load_save import save_megatron_model


@pytest.mark.parametrize("kind", [str, Path])
def test_expand_output_dir_expands_only_leading_tilde(kind, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    for given, expected in {"~/out": "/home/me/out", "out/~": "out/~", "msc://store/out": "msc://store/out"}.items():
        assert expand_output_dir(kind(given)) == kind(expected)


def test_unknown_user_in_path_raises_output_path_error():
    with pytest.raises(OutputPathError) as raised:
        expand_output_dir("~nobody-here/out")
    assert (raised.value.problem, raised.value.at) == ("unknown user", "~nobody-here")


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("", "empty"),
        ("a\0b", "empty"),
        ("out/" + "x" * 300, "too long"),
        ("y/" * 2100, "too long"),
        (os.fsdecode(b"bad\xff"), "not UTF-8"),
    ],
    ids=["empty", "NUL", "long name", "long path", "bytes"],
)
def test_empty_or_too_long_path_is_refused(path, problem):
    with pytest.raises(OutputPathError) as raised:
        expand_output_dir(path)
    assert raised.value.problem == problem and len(str(raised.value)) < 200


def test_path_through_missing_directory_is_refused(tmp_path):
    (tmp_path / "there").mkdir()
    check_writable(tmp_path / "there/../root")
    with pytest.raises(OutputPathError) as raised:
        check_writable(tmp_path / "gone/../root")
    assert (raised.value.problem, raised.value.at) == ("not a directory", tmp_path / "gone")
    assert sorted(tmp_path.iterdir()) == [tmp_path / "there"]


def test_overwrite_without_release_is_refused_before_the_work(tmp_path):
    from megatron.bridge import AutoBridge

    bridge = object.__new__(AutoBridge)
    bridge.source_model = None
    for save in (
        lambda: AutoBridge.import_ckpt(tmp_path / "no model", tmp_path / "root", overwrite=True),
        lambda: bridge.save_megatron_model([], tmp_path / "root", overwrite=True),
        lambda: save_megatron_model([], tmp_path / "root", overwrite=True),
    ):
        with pytest.raises(OverwriteWithoutReleaseError):
            save()
    assert list(tmp_path.iterdir()) == []


def _release(root: Path, *files: str) -> Path:
    """Make a release of a manifest, and files that it does not list."""
    release = root / RELEASE
    release.mkdir(parents=True)
    (release / METADATA).touch()
    write_manifest(release)
    (root / TRACKER).write_text(RELEASE)
    for name in files:
        (release / name).parent.mkdir(parents=True, exist_ok=True)
        (release / name).touch()
    return root


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["iter_0000005/.metadata", "iter_0000005/common.pt"], ("iter_0000005",)),
        (["runs/tb.log", "iter_0000005/.metadata"], ("iter_0000005", "runs/tb.log")),
        ([], ()),
    ],
    ids=["nested checkpoint", "log", "none"],
)
def test_release_with_foreign_files_is_not_replaced(tmp_path, files, names):
    _release(tmp_path, *files)
    if not names:
        check_output_dir(tmp_path, overwrite=True)
        return
    with pytest.raises(ForeignFilesError) as raised:
        check_output_dir(tmp_path, overwrite=True)
    assert (raised.value.release, raised.value.names) == (tmp_path / RELEASE, names)


@pytest.mark.parametrize(
    "make", [Path.touch, os.mkfifo, lambda path: path.symlink_to("nowhere")], ids=["file", "FIFO", "dangling symlink"]
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_file_named_release_is_kept(tmp_path, make, overwrite):
    make(tmp_path / RELEASE)
    with pytest.raises(ReleaseNotDirectoryError) as raised:
        check_output_dir(tmp_path, overwrite)
    assert raised.value.path == tmp_path / RELEASE


@pytest.mark.parametrize("is_trained", [False, True])
def test_release_with_trained_checkpoints_is_replaced_by_its_model_only(tmp_path, is_trained):
    root = _release(tmp_path / "root")
    write_source(SourceRecord("org/base"), root / RELEASE)
    if is_trained:
        (root / "iter_0000005").mkdir()
    check_trained(root, SourceModel("org/base", tmp_path))
    model = tmp_path / "other"
    model.mkdir()
    (model / "config.json").write_text("{}")
    save_file({"x": torch.ones(1)}, model / "model.safetensors")
    if not is_trained:
        check_trained(root, SourceModel(str(model), model))
        return
    with pytest.raises(TrainedFromReleaseError) as raised:
        check_trained(root, SourceModel(str(model), model))
    assert (raised.value.trained, raised.value.source) == (("iter_0000005",), "org/base")


def test_read_only_filesystem_is_refused(tmp_path):
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("this user may not mount a filesystem")
    try:
        with pytest.raises(OutputPathError) as raised:
            check_writable(tmp_path / "new")
        assert (raised.value.problem, raised.value.at) == ("read-only", tmp_path)
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_mount_flags_are_read_only_if_a_write_fails(tmp_path, monkeypatch):
    asked, statvfs = [], os.statvfs
    monkeypatch.setattr(os, "statvfs", lambda path: asked.append(path) or statvfs(path))
    check_writable(tmp_path / "new")
    assert asked == []
    # As for a user without permission: the tests may be root, who may write anywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(OutputPathError) as raised:
        check_writable(tmp_path / "new")
    assert (raised.value.problem, raised.value.at) == ("no permission", tmp_path)
    assert asked == [tmp_path]
