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

from megatron.bridge.release.validation.output_dir import check_root, destination
from megatron.bridge.training.model_load_save import save_megatron_model


@pytest.mark.parametrize("kind", [str, Path])
def test_a_releases_home_folder_is_the_users_and_the_rest_stays(kind, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    for given, expected in {"~/out": "/home/me/out", "out/~": "out/~", "msc://store/out": "msc://store/out"}.items():
        assert destination(kind(given), release=True, overwrite=True) == kind(expected)
    assert destination(kind("~/out"), release=False, overwrite=False) == kind("~/out")


def test_a_user_that_is_not_known_is_an_error():
    with pytest.raises(
        ValueError, match="^The output path ~nobody-here/out begins with ~nobody-here, and no such user"
    ):
        destination("~nobody-here/out", release=True, overwrite=False)


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("", "The output path '' names no folder. Give a folder."),
        ("a\0b", r"The output path 'a\\x00b' names no folder. Give a folder."),
        (
            "out/" + "x" * 300,
            "The output path out/x*… is too long for the filesystem, with 304 characters. Give a shorter",
        ),
        ("y/" * 2100, "The output path [y/]*… is too long for the filesystem, with 4200 characters. Give a shorter"),
    ],
    ids=["empty", "NUL", "long name", "long path"],
)
def test_what_can_be_no_folder_is_an_error(path, error):
    with pytest.raises(ValueError, match=f"^{error}"):
        destination(path, release=True, overwrite=False)


def test_a_way_through_a_folder_that_is_not_there_is_refused(tmp_path):
    (tmp_path / "there").mkdir()
    check_root(tmp_path / "there/../root")
    with pytest.raises(ValueError, match="goes through .*/gone, which is no folder"):
        check_root(tmp_path / "gone/../root")
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
        with pytest.raises(ValueError, match="^overwrite=True replaces a release, and without release=True none is"):
            save()
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_filesystem_is_named(tmp_path):
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("this user may not mount a filesystem")
    try:
        with pytest.raises(
            ValueError, match=rf"^The output path {tmp_path}/new .* filesystem of {tmp_path} is read-only.$"
        ):
            check_root(tmp_path / "new")
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_filesystem_is_asked_for_its_flags_only_where_a_root_cannot_be_written(tmp_path, monkeypatch):
    asked, statvfs = [], os.statvfs
    monkeypatch.setattr(os, "statvfs", lambda path: asked.append(path) or statvfs(path))
    check_root(tmp_path / "new")
    assert asked == []
    # As for a user without permission: the tests may be root, who may write anywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ValueError, match=rf"^The output path {tmp_path}/new .* no permission in {tmp_path}\.$"):
        check_root(tmp_path / "new")
    assert asked == [tmp_path]
