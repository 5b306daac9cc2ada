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

"""What of deriving args needs no Megatron: where the tokenizer is, and what an entry of a run config is worth."""

import pytest

from megatron.bridge.release.errors import CorruptFileError
from megatron.bridge.release.repair.args_from_run_config import _plain_value, _subclasses, derive_args, tokenizer_dir


KNOWN = {"torch.bfloat16": object(), "a.function": object()}


def test_tokenizer_dir_is_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected = f"{tmp_path}/root/release/tokenizer"
    assert tokenizer_dir(tmp_path / "root") == expected
    assert tokenizer_dir((tmp_path / "root").relative_to(tmp_path)) == expected


@pytest.mark.parametrize("value", [1, 1.5, "text", None, [1, 2], {"a": 1}, {"_name_": "a"}, {"_call_": True}], ids=str)
def test_plain_value_is_kept(value):
    assert _plain_value(value, KNOWN) is value


@pytest.mark.parametrize("name", KNOWN)
def test_known_object_is_resolved(name):
    assert _plain_value({"_target_": name, "_call_": False}, KNOWN) is KNOWN[name]


def test_plain_value_returns_name_of_unknown_object():
    assert _plain_value({"_target_": "os.system"}, KNOWN) == "os.system"
    assert _plain_value({"_target_": "a.Enum", "_name_": "member"}, KNOWN) == "member"
    assert _plain_value({"_target_": "a.function", "_name_": "member"}, KNOWN) == "member"


def test_subclasses_are_found_at_any_depth():
    class Base: ...

    class Child(Base): ...

    class Grandchild(Child): ...

    class Other: ...

    assert list(_subclasses(Base)) == [Child, Grandchild] and list(_subclasses(Other)) == []


def test_args_are_not_derived_without_metadata(release):
    (release.folder / ".metadata").unlink()
    with pytest.raises(CorruptFileError) as raised:
        derive_args(release.root, release.folder)
    assert (raised.value.file, raised.value.reason) == (".metadata", "No such file or directory")
