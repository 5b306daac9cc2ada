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

"""The units in which a checkpoint is written: made, written and forgotten one by one, shared among ranks and files."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from megatron.bridge.release.source.safetensors_reader import ByteRange


T = TypeVar("T")


@dataclass(frozen=True)
class Content:
    """The content of an entry: a tensor, or its bytes in files.

    Attributes:
        entry: The entry.
        source: The tensor, or the parts of files that it is, one after the other.
    """

    entry: Any
    source: torch.Tensor | Sequence[ByteRange]

    def chunks(self, buffer: memoryview) -> Iterator[memoryview]:
        """Return its bytes.

        Args:
            buffer: Where to read files to; each piece overwrites the one before.

        Yields:
            The bytes, in pieces no longer than the buffer.

        Raises:
            OSError: If a file cannot be read.
            ValueError: If a file is shorter than its header says.
        """
        if not isinstance(self.source, torch.Tensor):
            for part in self.source:
                yield from part.chunks(buffer)
            return
        tensor = self.source.contiguous()
        if tensor.numel():
            data = memoryview(tensor.flatten().view(torch.uint8).numpy())
            yield from (data[at : at + len(buffer)] for at in range(0, len(data), len(buffer)))


@dataclass(frozen=True)
class Unit:
    """Entries whose contents are made together.

    Attributes:
        entries: The entries.
        size: How many bytes they are.
        memory: How many bytes are needed to make them, beyond those that are there.
        contents: Makes the contents, one after the other; each is let go before the next.
    """

    entries: Sequence[Any]
    size: int
    memory: int
    contents: Callable[[], Iterator[Content]] = field(compare=False)


def share(things: Sequence[T], sizes: Sequence[int], number: int) -> list[list[T]]:
    """Share things evenly by their sizes. Every rank that calls it with the same things computes the same shares.

    Args:
        things: The things.
        sizes: Their sizes.
        number: Among how many.

    Returns:
        For each, its things in the order in which they were given.
    """
    shares: list[list[int]] = [[] for _ in range(number)]
    taken = [0] * number
    for at in sorted(range(len(things)), key=lambda at: -sizes[at]):
        least = taken.index(min(taken))
        shares[least].append(at)
        taken[least] += sizes[at]
    return [[things[at] for at in sorted(mine)] for mine in shares]
