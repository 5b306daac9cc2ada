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

"""Writes the generated parts of docs/: the table of config fields, the help of the command line, and the texts of errors.

python tests/support/written_docs.py
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import message_texts


DOCS = Path(__file__).parents[2] / "docs"
_COMMANDS = ("", "import", "export", "check", "launch", "repair")


def config_fields(page: str) -> str:
    """Put the table of config fields, and the fields that may have any value, into the page."""
    # It imports Megatron-Bridge.
    from megatron.bridge.release.validation.config_rules import FAMILIES

    families: dict[tuple[str, str, str], list[str]] = {}
    for family, fields in FAMILIES.items():
        for field in fields:
            if field.values != "any":
                families.setdefault((field.name, field.values, field.hint), []).append(family)
    rows = [
        "| config field | families | supported values | another value |",
        "| --- | --- | --- | --- |",
        *(
            f"| `{name}` | {', '.join(names)} | {values} | {hint} |"
            for (name, values, hint), names in families.items()
        ),
    ]
    always = sorted({field.name for fields in FAMILIES.values() for field in fields if field.values == "any"})
    text = "\n".join([*rows, "", f"At any value: {', '.join(f'`{name}`' for name in always)}."])
    return replaced(page, rows[0], "\n\nThe tests compute", text)


def command_line(page: str) -> str:
    """Put the help of each command into the page."""
    from megatron.bridge.release.cli.parser import make_parser

    texts = []
    for command in _COMMANDS:
        with mock.patch.dict(os.environ, COLUMNS="100"), mock.patch.object(sys, "argv", ["megatron-bridge-release"]):
            parser = make_parser()
            if command:
                parser = parser._subparsers._group_actions[0].choices[command]
            texts.append(f"## {command or 'All commands'}\n\n```\n{parser.format_help().strip()}\n```")
    return replaced(page, "## All commands", None, "\n\n".join(texts) + "\n")


PAGES: dict[str, Callable[[str], str]] = {"fidelity.md": config_fields, "command-line.md": command_line}


def replaced(page: str, first: str, after: str | None, text: str) -> str:
    """Replace what stands on a page.

    Args:
        page: The page.
        first: How what is replaced begins.
        after: What follows it; None where it goes to the end.
        text: What takes its place.

    Returns:
        The new page.
    """
    before, found, rest = page.partition(first)
    assert found, f"the page has no {first!r}"
    if after is None:
        return before + text
    _, found, tail = rest.partition(after)
    assert found, f"the page has no {after!r}"
    return before + text + after + tail


if __name__ == "__main__":
    for name, write in PAGES.items():
        (DOCS / name).write_text(write((DOCS / name).read_text()))
    message_texts.FILE.write_text(message_texts.texts())
