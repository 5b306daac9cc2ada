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


"""The values of a tensor are found in what torch.save wrote, wherever that stands in a file."""

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from megatron.bridge.release.verify.torch_zip import TensorBytes, find_tensor_bytes


def _locate(value: Any, folder: Path) -> tuple[TensorBytes | None, bytes]:
    """Put what torch.save makes of a value into the middle of a file."""
    saved = io.BytesIO()
    torch.save(value, saved)
    stored = b"before" * 5 + saved.getvalue() + b"after"
    (folder / "file").write_bytes(stored)
    with open(folder / "file", "rb") as file:
        return find_tensor_bytes(file, 30, len(saved.getvalue())), stored


@pytest.mark.parametrize("crc", [True, False])
@pytest.mark.parametrize(
    ("dtype", "storage"), [(torch.bfloat16, "BFloat16Storage"), (torch.float32, "FloatStorage")], ids=str
)
@pytest.mark.parametrize("shape", [(3, 5), (1, 4, 1, 7), (9,), (0, 2), ()], ids=str)
def test_tensor_bytes_are_found(tmp_path, crc, dtype, storage, shape):
    tensor = torch.randn(shape).to(dtype)
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(crc)
    try:
        values, stored = _locate(tensor, tmp_path)
    finally:
        torch.serialization.set_crc32_options(before)
    assert values is not None and (values.storage, values.shape, values.length) == (storage, shape, tensor.nbytes)
    assert stored[values.offset : values.offset + values.length] == bytes(tensor.flatten().view(torch.uint8).tolist())


@pytest.mark.parametrize(
    "value",
    [torch.ones(3, 5).T, torch.ones(6)[1:], torch.ones(6)[:5], torch.ones(2).expand(3, 2), {"a": 1}],
    ids=["transposed", "a part", "a beginning", "expanded", "no tensor"],
)
def test_non_contiguous_tensor_is_not_found(tmp_path, value):
    assert _locate(value, tmp_path)[0] is None


def test_compressed_tensor_is_not_found(tmp_path):
    saved = io.BytesIO()
    torch.save(torch.zeros(100), saved)
    with zipfile.ZipFile(saved) as plain, zipfile.ZipFile(tmp_path / "file", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in plain.namelist():
            archive.writestr(name, plain.read(name))
    with open(tmp_path / "file", "rb") as file:
        assert find_tensor_bytes(file, 0, (tmp_path / "file").stat().st_size) is None


def test_corrupt_archive_is_an_error(tmp_path):
    (tmp_path / "file").write_bytes(bytes(200))
    with open(tmp_path / "file", "rb") as file, pytest.raises(zipfile.BadZipFile):
        find_tensor_bytes(file, 0, 200)
