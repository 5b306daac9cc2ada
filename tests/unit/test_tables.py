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


"""A table of docs is put where the old one stands."""

import pytest
import tables


def test_with_table_replaces_table_and_notes():
    page = "a\n\n| x | y |\n| --- | --- |\n| 1 | yes (1) |\n\n(1) Old.  \n\n| z | y |\n| --- | --- |\n| 1 | 2 |\n\nb\n"
    new = tables.with_table(page, "x", "| x | w |\n| --- | --- |\n| 2 | no |")
    assert new == "a\n\n| x | w |\n| --- | --- |\n| 2 | no |\n\n| z | y |\n| --- | --- |\n| 1 | 2 |\n\nb\n"
    with pytest.raises(AssertionError, match="0 tables of v"):
        tables.with_table(page, "v", "")
