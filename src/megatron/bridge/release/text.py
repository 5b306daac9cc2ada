# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Lists tensor names in messages. Names that differ only in their numbers form one group.

Importing this module imports neither torch nor Megatron Core.
"""

import re
from collections.abc import Iterable, Sequence


# A decimal number between dots, without leading zeros or Unicode digits.
_NUMBER = re.compile(r"(?<=\.)(?:0|[1-9][0-9]{0,17})(?=\.|$)")


def quote_if_unprintable(name: str) -> str:
    """Return a name, or its `repr` if it is empty or contains line breaks or other unprintable characters."""
    return name if name and name.isprintable() else repr(name)


def is_utf8(text: str) -> bool:
    """Return whether a text, such as the name of a file, can be encoded."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def list_first(names: Sequence[str], most: int = 3) -> str:
    """List the first names and the number of the others, such as ``a, b, c and 5 more``."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(quote_if_unprintable, names[:most])) + more


def summarize_names(names: Iterable[str]) -> str:
    """List names in groups, such as ``model.layers.0…31.self_attn.q_proj.bias (32)``, ordered by first occurrence."""
    groups: dict[str, list[list[int]]] = {}
    for name in map(quote_if_unprintable, names):
        groups.setdefault(_NUMBER.sub("*", name), []).append([int(number) for number in _NUMBER.findall(name)])
    return ", ".join(_format_group(pattern, numbers) for pattern, numbers in groups.items())


def _format_group(pattern: str, numbers: list[list[int]]) -> str:
    ranges = [_format_range(sorted(set(position))) for position in zip(*numbers)]
    parts = pattern.split("*")
    name = parts[0] + "".join(number + part for number, part in zip(ranges, parts[1:]))
    return f"{name} ({len(numbers)})" if len(numbers) > 1 else name


def _format_range(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return str(numbers[0])
    if numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]}…{numbers[-1]}"
    shown = ",".join(map(str, numbers[:4]))
    return f"{{{shown}}}" if len(numbers) <= 4 else f"{{{shown},…,{numbers[-1]}}}"
