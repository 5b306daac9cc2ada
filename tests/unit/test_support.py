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

"""The helpers that compare see what differs."""

import os
from pathlib import Path

import pytest
import torch
from expected_errors import Containing, raises
from hf_logits import LOGITS_BOUND, wrong_logits
from hf_tensors import assert_same_tensors, same_bits
from roots import changed, contents, stamps, visible_contents
from safetensors.torch import save_file

from megatron.bridge.release.errors import NotComputableError


LOGITS = torch.tensor([[1.0, -100.0, 3.0]])


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (LOGITS, []),
        (LOGITS + 50 * LOGITS_BOUND, []),
        (LOGITS + 200 * LOGITS_BOUND, ["logits differ by 8.0e-03"]),
        (torch.where(LOGITS > 2, float("nan"), LOGITS), ["logits differ by nan"]),
        (LOGITS[:, :2], ["logits are torch.float32 (1, 2), not torch.float32 (1, 3)"]),
        (LOGITS.bfloat16(), ["logits are torch.bfloat16 (1, 3), not torch.float32 (1, 3)"]),
    ],
    ids=["same", "near", "far", "NaN", "narrow", "bfloat16"],
)
def test_logits_agree_within_the_bound_of_the_largest_alone(found, said):
    assert wrong_logits(found, LOGITS) == said


def test_bits_are_compared_and_not_values():
    nan = torch.tensor([float("nan"), 1.0])
    assert same_bits(nan, nan.clone()) and same_bits(torch.tensor(1.5), torch.tensor(1.5))
    assert not same_bits(torch.tensor([0.0]), torch.tensor([-0.0]))
    assert not same_bits(torch.ones(2), torch.ones(2).half()) and not same_bits(torch.ones(2), torch.ones(2, 1))


@pytest.mark.parametrize("other", [{"a": torch.ones(2)}, {"a": torch.ones(2), "b": torch.ones(3)}, None])
def test_assert_same_tensors_detects_differences(tmp_path, other):
    tensors = {"a": torch.ones(2), "b": torch.zeros(3)}
    for name, held in (("right", tensors), ("same", tensors), ("other", other)):
        (tmp_path / name).mkdir()
        if held is not None:
            save_file(held, tmp_path / name / "model.safetensors")
    assert assert_same_tensors(tmp_path / "same", tmp_path / "right") == 2
    with pytest.raises((AssertionError, FileNotFoundError)):
        assert_same_tensors(tmp_path / "other", tmp_path / "right")
    (tmp_path / "empty").mkdir()
    with pytest.raises(AssertionError, match="holds no tensors"):
        assert_same_tensors(tmp_path / "same", tmp_path / "empty")


def test_contents_distinguish_symlinks_from_files(tmp_path):
    (tmp_path / "release").mkdir()
    (tmp_path / "release/file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("release/file")
    (tmp_path / ".release-lock").write_bytes(b"")
    assert visible_contents(tmp_path) == {"release/file": b"x", "link": b"-> release/file"}
    assert contents(tmp_path) == visible_contents(tmp_path) | {".release-lock": b""}


def test_stamps_detect_written_new_and_removed_files(tmp_path):
    for name in ("same", "written", "gone"):
        (tmp_path / name).write_bytes(b"x")
    os.utime(tmp_path / "written", ns=(0, 0))
    before = stamps(tmp_path)
    assert changed(before, stamps(tmp_path)) == []
    (tmp_path / "same").read_bytes()
    (tmp_path / "written").write_bytes(b"y")
    (tmp_path / "gone").unlink()
    (tmp_path / "new").symlink_to("same")
    assert changed(before, stamps(tmp_path)) == ["gone", "new", "written"]


def test_helper_index_lists_each_helper_once():
    folder = Path(__file__).parents[1] / "support"
    words = [line.split() for line in (folder / "__init__.py").read_text().splitlines() if line.startswith("    ")]
    helpers = [path for path in folder.glob("[!_]*") if path.suffix == ".py" or list(path.glob("*.py"))]
    assert sorted(name for name, *_ in words) == sorted(path.stem for path in helpers)


class _Subclass(NotComputableError):
    pass


@pytest.mark.parametrize(
    ("reason", "error"),
    [("x", NotComputableError("y")), ("x\nx", NotComputableError("x\nx")), ("x", _Subclass("x"))],
    ids=["field", "lines", "class"],
)
def test_error_differs_by_field_line_or_class(reason, error):
    with raises(NotComputableError("x")):
        raise NotComputableError("x")
    with pytest.raises(AssertionError), raises(NotComputableError(reason)):
        raise error


@pytest.mark.parametrize(
    ("value", "is_equal"),
    [("a.b is 4", True), ("4 (a.b)", True), ("x.a.b is 4", False), ("a.b.c is 4", False), ("a.b is 42", False)],
)
def test_containing_finds_whole_words(value, is_equal):
    assert (value == Containing("a.b", "4")) is is_equal


def test_containing_finds_members_of_a_collection():
    assert ("a", "b") == Containing("a", size=2) and ("a.b",) != Containing("a")
    assert ("a", "b") != Containing("a", size=1)
