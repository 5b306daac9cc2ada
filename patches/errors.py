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

"""What can go wrong when an edit is applied."""


class EditError(Exception):
    """An edit that does not fit the source it was given.

    Args:
        expected: What the edit looked for.
        found: What the source holds instead, with line numbers.
    """

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(f"expected {expected}, found {found}")
        self.expected = expected
        self.found = found
        self.context = ""
        self.advice = ""

    def __str__(self) -> str:
        return f"{self.context}expected {self.expected}, found {self.found}{self.advice}"


class NoMatch(EditError):
    """The place that the edit names is gone."""


class SeveralMatches(EditError):
    """The place that the edit names is not unique.

    Args:
        expected: What the edit looked for.
        count: How many of it there are.
        lines: Where they are.
    """

    def __init__(self, expected: str, count: int, lines: str) -> None:
        super().__init__(expected, f"{count} in {lines}")
        self.count = count


class AlreadyApplied(EditError):
    """The source already holds what the edit would bring."""
