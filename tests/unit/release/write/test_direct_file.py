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

"""Files that are written past the page cache have the same bytes on every filesystem, whole or not at all."""

import errno
import fcntl
import os
import random
from pathlib import Path

import pytest

from megatron.bridge.release.write import filesystem
from megatron.bridge.release.write.direct_file import DIRECT_VARIABLE, DirectFile
from megatron.bridge.release.write.errors import EnvironmentVariableError


def _write(path, pieces):
    with DirectFile(path) as file:
        for piece in pieces:
            assert file.write(piece) == len(piece)
        assert file.size == sum(map(len, pieces))
    return path.read_bytes()


@pytest.fixture
def pieces(request):
    generator = random.Random(0)
    return [generator.randbytes(size) for size in request.param]


sizes = pytest.mark.parametrize(
    "pieces",
    [[], [0], [1], [4096], [2 << 20], [(2 << 20) + 5], [3 << 20, 3 << 20], [64, 5 << 20, 1, 0, (2 << 20) - 7, 4096]],
    ids=str,
    indirect=True,
)


@sizes
def test_direct_file_writes_every_byte(pieces, tmp_path):
    assert _write(tmp_path / "file", pieces) == b"".join(pieces)


@sizes
def test_direct_file_writes_every_byte_without_o_direct(pieces, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EINVAL, "no direct I/O here")

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    assert _write(tmp_path / "file", pieces) == b"".join(pieces)


@sizes
def test_direct_file_falls_back_when_direct_write_fails(pieces, tmp_path, monkeypatch):
    write = os.write

    def refuse_direct(descriptor, data):
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
            raise OSError(errno.EINVAL, "the blocks of this disk are larger")
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", refuse_direct)
    assert _write(tmp_path / "file", pieces) == b"".join(pieces)


@sizes
@pytest.mark.parametrize("most", [4096, 1 << 20, 999], ids=lambda most: f"at most {most}")
def test_also_by_and_by(pieces, most, tmp_path, monkeypatch):
    if most < 4096 and sum(map(len, pieces)) > 4096 * 2:
        pieces = [piece[:3000] for piece in pieces]
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, memoryview(data)[:most]))
    assert _write(tmp_path / "file", pieces) == b"".join(pieces)


def test_direct_file_uses_o_direct_up_to_last_block(tmp_path, monkeypatch):
    with open(tmp_path / "probe", "wb") as probe:
        try:
            fcntl.fcntl(probe, fcntl.F_SETFL, os.O_DIRECT)
        except OSError:
            pytest.skip("this filesystem has no direct I/O")
    seen, write = [], os.write

    def look(descriptor, data):
        seen.append((len(data), bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT)))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", look)
    _write(tmp_path / "file", [bytes((4 << 20) + 100)])
    assert seen == [(2 << 20, True), (2 << 20, True), (100, False)]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EINVAL])
def test_write_error_contains_file_name(number, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "write", fail)
    with pytest.raises(OSError, match="file") as raised:
        _write(tmp_path / "file", [b"x"])
    assert (raised.value.errno, raised.value.filename) == (number, str(tmp_path / "file"))


def test_write_of_zero_bytes_raises_error(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "write", lambda *_: 0)
    with pytest.raises(OSError, match="no bytes written.*file"):
        _write(tmp_path / "file", [b"x"])


def test_existing_file_is_not_overwritten(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        _write(tmp_path / "file", [b"new"])
    assert (tmp_path / "file").read_bytes() == b"old"


@pytest.mark.parametrize("kind", ["nfs4", "lustre", "gpfs"])
def test_network_filesystems_get_buffered_writes(kind, tmp_path, monkeypatch):
    """Where each write past it waits for the server."""
    seen, write = [], os.write

    def look(descriptor, data):
        seen.append(bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", look)
    monkeypatch.setattr(filesystem, "mounts", lambda: {Path("/"): "ext4", tmp_path: kind})
    assert _write(tmp_path / "file", [bytes(3 << 20)]) == bytes(3 << 20)
    assert seen == [False, False]


@pytest.mark.parametrize(("value", "kind", "is_direct"), [("0", "ext4", False), ("1", "nfs4", True)])
def test_environment_variable_overrides_filesystem_default(value, kind, is_direct, tmp_path, monkeypatch):
    monkeypatch.setenv(DIRECT_VARIABLE, value)
    monkeypatch.setattr(filesystem, "mounts", lambda: {Path("/"): kind})
    flags, fcntl_function = [], fcntl.fcntl
    monkeypatch.setattr(fcntl, "fcntl", lambda *arguments: (flags.append(arguments), fcntl_function(*arguments))[1])
    assert _write(tmp_path / "file", [bytes(2 << 20)]) == bytes(2 << 20)
    assert any(arguments[2:] == (os.O_DIRECT,) for arguments in flags) == is_direct


def test_invalid_value_of_environment_variable_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv(DIRECT_VARIABLE, "yes")
    with pytest.raises(EnvironmentVariableError) as raised:
        _write(tmp_path / "file", [b"x"])
    assert (raised.value.name, raised.value.value) == (DIRECT_VARIABLE, "yes")
