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

"""Errors that libraries raise for a model that they cannot compute, each in one line."""


class NotComputable(Exception):
    """This host cannot compute the model, which proves nothing about it. The message says why, in one line."""


def in_one_line(error: BaseException) -> str:
    """Return an error's type and message in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'}"


def join_sentences(*texts: str) -> str:
    """Join texts into one, each ended by a full stop if another follows."""
    *before, last = texts
    return " ".join([*(text if text.endswith((".", "!", "?")) else f"{text}." for text in before), last])


def says_memory(error: BaseException) -> bool:
    """Return whether an error says that memory has run out; torch has no type of its own for the CPU's."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "allocate memory" in str(error))
