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

"""What libraries raise is put into one line, and memory that has run out is told from other errors."""

import pytest

from megatron.bridge.release.errors import in_one_line, says_memory


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("a\n  b\tc "), "ValueError: a b c"),
        (KeyError("name"), "KeyError: 'name'"),
        (RuntimeError(), "RuntimeError: no message"),
        (RuntimeError(" \n"), "RuntimeError: no message"),
    ],
)
def test_an_error_is_one_line_with_its_type_first(error, expected):
    assert in_one_line(error) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (RuntimeError("you tried to allocate memory: 5 bytes"), True),
        (RuntimeError("shapes differ"), False),
        (ValueError("you tried to allocate memory"), False),
    ],
)
def test_memory_that_has_run_out_is_told_by_its_type_or_by_torchs_words(error, expected):
    assert says_memory(error) == expected
