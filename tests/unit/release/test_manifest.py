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

"""The checksums of a folder: which files have one, what is written of them, and what is refused as damaged."""

import hashlib
import json
from pathlib import Path

import pytest

from megatron.bridge.release.manifest import digests, files_of, read_manifest, write_manifest


CONTENTS = {"a": b"", "folder/b": b"b" * 3_000_000}
DIGESTS = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENTS.items()}


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with files, and with links that do not count."""
    for name, content in CONTENTS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "linked folder").symlink_to("folder")
    return tmp_path


def test_files_are_found_at_any_depth_and_links_are_not(folder):
    assert files_of(folder) == sorted(CONTENTS)


def test_digest_covers_all_bytes_and_unreadable_files_have_none(folder):
    assert digests(folder, CONTENTS) == DIGESTS
    assert digests(folder, ["a"]) == {"a": DIGESTS["a"]}
    found = digests(folder, ["a", "folder"])
    assert found["a"] == DIGESTS["a"] and isinstance(found["folder"], IsADirectoryError)


def test_manifest_contains_digest_of_every_file(folder):
    for _ in range(2):
        write_manifest(folder)
        assert read_manifest(folder) == DIGESTS
    assert json.loads((folder / "integrity.json").read_text())["algorithm"] == "sha256"


def test_known_digests_are_used_for_existing_files_only(folder):
    known = {"a": "0" * 64, "gone": "1" * 64}
    write_manifest(folder, known)
    assert read_manifest(folder) == DIGESTS | {"a": "0" * 64}


def test_new_manifest_keeps_hard_link_of_previous_manifest(folder, tmp_path):
    (folder / "integrity.json").write_text("old")
    (folder / "folder/second name").hardlink_to(folder / "integrity.json")
    write_manifest(folder)
    assert (folder / "folder/second name").read_text() == "old"


def _manifest(**changes) -> str:
    return json.dumps({"algorithm": "sha256", "files": DIGESTS} | changes)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", _manifest(files=[]), _manifest(algorithm="md5"), _manifest()[:-1], "[" * 100_000]
    + [_manifest(files={"a": digest}) for digest in (None, "0" * 63, "0" * 65, "g" * 64, "A" * 64)],
    ids=range(12),
)
def test_corrupt_manifest_is_refused(folder, text):
    (folder / "integrity.json").write_text(text)
    with pytest.raises(ValueError):
        read_manifest(folder)


def test_manifest_without_algorithm_defaults_to_sha256(folder):
    (folder / "integrity.json").write_text(json.dumps({"files": DIGESTS}))
    assert read_manifest(folder) == DIGESTS


def test_digests_return_error_for_missing_file(folder):
    found = digests(folder, ["a", "gone"])
    assert found["a"] == DIGESTS["a"] and isinstance(found["gone"], FileNotFoundError)
