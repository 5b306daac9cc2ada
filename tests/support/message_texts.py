# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The texts of all errors and warnings, made with example facts.

python tests/support/message_texts.py writes them to tests/unit/release/messages.txt
"""

import dataclasses
import enum
import importlib
import itertools
import pkgutil
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import megatron.bridge.release
from megatron.bridge.release.errors import Message, python_option, shell_option


_PACKAGE = megatron.bridge.release.__name__
FILE = Path(__file__).parents[1] / "unit/release/messages.txt"


class _Text(str):
    """Stands for a message that another one contains."""

    def text(self, option: Any) -> str:
        return str(self)


def classes() -> list[type[Message]]:
    """Return the classes of messages, sorted by their modules and names."""
    importlib.import_module("megatron.bridge.utils.te_requirements")
    for module in pkgutil.walk_packages(megatron.bridge.release.__path__, f"{_PACKAGE}."):
        if module.name.endswith(("errors", "findings")):
            importlib.import_module(module.name)
    found: dict[type[Message], None] = {}
    remaining: list[type[Message]] = [Message]
    while remaining:
        found |= dict.fromkeys(remaining)
        remaining = [sub for cls in remaining for sub in cls.__subclasses__()]
    return sorted(
        # Bases are no dataclasses, or have no text.
        (
            cls
            for cls in found
            if "__dataclass_fields__" in vars(cls)
            and cls.text is not Message.text
            and cls.__module__.startswith("megatron.bridge.")
        ),
        key=lambda cls: (cls.__module__, cls.__qualname__),
    )


def examples(cls: type[Message]) -> list[Message]:
    """Make messages of a class: one for each combination of the values that decide on its form."""
    hints = typing.get_type_hints(cls)
    fields = {field.name: _values(field.name, hints[field.name]) for field in dataclasses.fields(cls)}
    return [cls(*values) for values in itertools.product(*fields.values())]


def _values(name: str, hint: Any) -> list[Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        # The last one first: None makes the shorter form.
        return [value for argument in reversed(arguments) for value in _values(name, argument)]
    if origin is typing.Literal:
        return list(arguments)
    if origin is not None and issubclass(origin, Mapping):
        key, value = (_values(name, argument)[-1] for argument in arguments)
        return [{key: value}]
    if origin is tuple and arguments[-1] is not ...:
        return [tuple(_values(name, argument)[-1] for argument in arguments)]
    if origin is not None:
        return [(_values(name, arguments[0])[-1],) * 2]
    if hint is type(None):
        return [None]
    if hint is bool:
        return [False, True]
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return list(hint)
    if isinstance(hint, type) and issubclass(hint, Message):
        return [_Text(f"<{name}>")]
    if isinstance(hint, type) and issubclass(hint, Exception):
        return [ValueError(f"<{name}>")]
    if hint is Path:
        return [Path(f"/{name}")]
    return [2] if hint in (int, float) else [f"<{name}>"]


def texts() -> str:
    """Return all texts, by class, each as Python shows it and, if it names an option, as the command does."""
    lines = []
    for cls in classes():
        lines.append(f"\n{cls.__module__.removeprefix('megatron.bridge.')}.{cls.__qualname__}")
        found = (message.text(option) for message in examples(cls) for option in (python_option, shell_option))
        lines += [f"    {text}" for text in dict.fromkeys(found)]
    return "\n".join(lines).lstrip() + "\n"


if __name__ == "__main__":
    FILE.write_text(texts(), encoding="utf-8")
