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

"""Assertions about errors and warnings: their classes and fields, not their texts.

An expected error is an instance of its class. A field that a test does not check is `unittest.mock.ANY`.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from megatron.bridge.release.errors import Message, ReleaseError, ReleaseWarning


class Containing:
    """Equal to a text or path that contains all parts as whole words, and to a collection that contains all parts.

    Args:
        *parts: The parts.
        size: Size of the collection, if it matters.
    """

    def __init__(self, *parts: str, size: int | None = None) -> None:
        self.parts, self.size = parts, size

    def __eq__(self, value: object) -> bool:
        if self.size is not None and len(value) != self.size:
            return False
        if isinstance(value, (str, Path)):
            return all(re.search(rf"(?<![\w.]){re.escape(part)}(?!\.?\w)", str(value)) for part in self.parts)
        return all(part in value for part in self.parts)

    def __repr__(self) -> str:
        return f"Containing({', '.join(map(repr, self.parts))}, size={self.size})"


def facts(message: Message) -> tuple[type[Message], dict[str, Any]]:
    """Return the class of an error or warning, and its fields, with the facts of those that are messages themselves."""
    fields = {name: value for name, value in vars(message).items() if name != "__notes__"}
    return type(message), {
        name: facts(value) if isinstance(value, Message) else value for name, value in fields.items()
    }


@contextmanager
def raises(expected: ReleaseError) -> Iterator[pytest.ExceptionInfo]:
    """Expect an error of this class with these fields, whose text is one line."""
    with pytest.raises(type(expected)) as raised:
        yield raised
    assert facts(raised.value) == facts(expected), f"{raised.value!r}, expected {expected!r}"
    assert "\n" not in str(raised.value)


@contextmanager
def warns(expected: ReleaseWarning) -> Iterator[None]:
    """Expect a warning of this class with these fields, and no other one of this class."""
    with pytest.warns(type(expected)) as caught:
        yield
    messages = [warning.message for warning in caught if isinstance(warning.message, type(expected))]
    assert [facts(message) for message in messages] == [facts(expected)], f"{messages}, expected {expected!r}"
