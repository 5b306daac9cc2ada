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

"""Lists names of tensors for a person: those that differ by their numbers alone are one group.

Importing this module imports neither torch nor Megatron Core.
"""

import re
from collections.abc import Iterable


# As a name of a tensor has it: 007 and digits of other scripts are words.
_NUMBER = re.compile(r"(?<=\.)(?:0|[1-9][0-9]{0,17})(?=\.|$)")


def quote_if_unprintable(name: str) -> str:
    """Return a name as it can stand in a line: in quotes where it is empty or has line breaks and their like.

    Args:
        name: Name of a tensor or a file.

    Returns:
        The name, or its `repr`.
    """
    return name if name and name.isprintable() else repr(name)


def summarize_names(names: Iterable[str]) -> str:
    """List names, those that differ by their numbers alone as one.

    Args:
        names: Names of tensors.

    Returns:
        The groups, such as ``model.layers.0…31.self_attn.q_proj.bias (32)``, in the order of their first names.
    """
    groups: dict[str, list[list[int]]] = {}
    for name in map(readable, names):
        groups.setdefault(_NUMBER.sub("*", name), []).append([int(number) for number in _NUMBER.findall(name)])
    return ", ".join(_group(pattern, numbers) for pattern, numbers in groups.items())


def _group(pattern: str, numbers: list[list[int]]) -> str:
    ranges = [_range(sorted(set(position))) for position in zip(*numbers)]
    parts = pattern.split("*")
    name = parts[0] + "".join(number + part for number, part in zip(ranges, parts[1:]))
    return f"{name} ({len(numbers)})" if len(numbers) > 1 else name


def _range(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return str(numbers[0])
    if numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]}…{numbers[-1]}"
    shown = ",".join(map(str, numbers[:4]))
    return f"{{{shown}}}" if len(numbers) <= 4 else f"{{{shown},…,{numbers[-1]}}}"
