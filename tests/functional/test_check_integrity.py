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

"""`check` finds every file that is damaged, cut or missing, by the checksums and without them."""

import io
import shutil
import struct
import zipfile
from pathlib import Path

import pytest
from faults import SEED
from megatron.core.dist_checkpointing.core import CheckpointingException
from megatron.core.dist_checkpointing.validation import save_integrity_manifest, verify_integrity_manifest
from megatron_lm import load, megatron_lm, release_flags
from roots import contents, shard

from megatron.bridge.release.layout import INTEGRITY_FILE, TRACKER
from megatron.bridge.release.repair.run import repair
from megatron.bridge.release.verify.check import check
from megatron.bridge.release.verify.dcp_metadata import Entry, read_metadata


PARTS = 24 if SEED == "all" else 4


def _damages(data: bytes) -> list[tuple[str, bytes | None]]:
    """Ways to spoil a file."""
    size = len(data)
    damages: list[tuple[str, bytes | None]] = [("removed", None)]
    damages += [(f"truncated to {end}", data[:end]) for end in sorted({0, size // 2, size - 1})]
    # As many, whatever the size: some files hold the path of the folder that a test runs in.
    for at in sorted({*(part * size // PARTS for part in range(PARTS)), size - 1}):
        for mask in (0x01, 0x80):
            damages.append((f"byte {at} ^ {mask}", data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]))
    return damages


def test_check_finds_every_damaged_file(root):
    cases, missed = 0, []
    for file, whole in contents(root).items():
        for damage, data in _damages(whole):
            if data is None:
                (root / file).unlink()
            else:
                (root / file).write_bytes(data)
            cases += 1
            report = check(root)
            # A damaged checksum is reported as a damage of its file.
            name = Path(file).name
            named = name == INTEGRITY_FILE or any(name in str(problem) for problem in report.problems)
            if report.passed or not named:
                missed.append(f"{file} {damage}: {report.problems}")
        (root / file).write_bytes(whole)
    assert missed == [] and cases > 30 * PARTS
    assert check(root).passed


def _value_of(data: bytes, entry: Entry) -> int:
    """Tell where the first byte of a stored tensor's values is, by the ZIP format."""
    archive = zipfile.ZipFile(io.BytesIO(data[entry.offset : entry.offset + entry.length]))
    (values,) = (info for info in archive.infolist() if info.filename.endswith("/data/0"))
    header = entry.offset + values.header_offset
    return header + 30 + sum(struct.unpack("<HH", data[header + 26 : header + 30]))


def test_megatron_core_verifies_the_manifest(root):
    verify_integrity_manifest(str(root / "release"))
    for file, data in contents(root / "release").items():
        if file == INTEGRITY_FILE:
            continue
        (root / "release" / file).write_bytes(bytes([data[0] ^ 1]) + data[1:])
        with pytest.raises(CheckpointingException, match=f"for 1 file.*\n  {file}: hash mismatch"):
            verify_integrity_manifest(str(root / "release"))
        (root / "release" / file).write_bytes(data)


def test_megatron_lm_verifies_the_manifest_on_load(root):
    with megatron_lm([*release_flags(root), "--verify-integrity"]) as args:
        assert load(args)[1] == 0
        for file in (root / "release").glob("*.distcp"):
            data = file.read_bytes()
            file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
            with pytest.raises(CheckpointingException, match=f"{file.name}: hash mismatch"):
                load(args)
            file.write_bytes(data)
        assert load(args)[1] == 0


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"files": []}', '{"algorithm": "md5", "files": {}}', '{"files": {"common.pt": "abc"}}']
    + ['{"files": {}}', "[" * 100_000, "\N{SNOWMAN}"],
    ids=range(10),
)
def test_corrupt_or_incomplete_manifest_is_repaired(root, text):
    (root / "release" / INTEGRITY_FILE).write_text(text)
    (problem,) = check(root).problems
    assert (problem.file, problem.status, problem.repair) == (root / "release/integrity.json", "corrupt", root)
    assert "\n" not in str(problem)
    repair(root)
    assert check(root).passed


def test_manifest_of_a_training_may_list_fewer_files(root):
    """It names its own files alone, and repair, which refuses a training, is not offered."""
    folder = root / "iter_0000005"
    (root / "release").rename(folder)
    (root / TRACKER).write_text("5")
    (folder / INTEGRITY_FILE).unlink()
    save_integrity_manifest(str(folder))
    assert check(root).passed and not check(root).notes
    (folder / INTEGRITY_FILE).write_text("{}")
    (problem,) = check(root).problems
    assert (problem.file, problem.repair) == (folder / INTEGRITY_FILE, None)


def test_damaged_tensors_are_found_without_a_manifest(default, tmp_path):
    root = Path(shutil.copytree(default, tmp_path / "root"))
    file = shard(root / "iter_0000000")
    whole = file.read_bytes()
    assert not check(root).unrepairable
    for data in (None, b"", whole[:-1], whole + b"\0"):
        file.unlink() if data is None else file.write_bytes(data)
        assert any(problem.file == file for problem in check(root).unrepairable)
    tensors = [entry for entry in read_metadata(root / "iter_0000000").entries if entry.at is not None]
    assert len(tensors) > 10
    for entry in tensors:
        at = _value_of(whole, entry)
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        (problem,) = check(root).unrepairable
        assert problem.reason == f"{entry.key}: checksum mismatch in archive/data/0"
    file.write_bytes(whole)
    assert not check(root).unrepairable
