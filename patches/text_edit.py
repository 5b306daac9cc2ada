# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""An edit to a file of upstream that is not Python, such as a page or a shell script."""

from collections.abc import Callable
from dataclasses import dataclass

from patches.syntax import AlreadyApplied, NoMatch, SeveralMatches


TextOperation = Callable[[str], str]


@dataclass(frozen=True)
class TextEdit:
    """One edit to such a file. As `patches.edit.Edit`, but `symbol` is only for messages."""

    name: str
    symbol: str
    why: str
    drop_when: str
    do: TextOperation
    versions: str = ""

    def apply(self, text: str) -> str:
        """Return a text with the edit, or raise an EditError."""
        changed = self.do(text)
        if changed == text:
            raise AlreadyApplied("no such change yet", "it")
        return changed


@dataclass(frozen=True)
class AppendToSection:
    """Append a text to the section of a Markdown heading, as in `## Title`, if it is not there yet."""

    heading: str
    text: str

    def __call__(self, document: str) -> str:
        new = self.text.strip("\n")
        if new in document:
            return document
        lines = document.split("\n")
        headings = [at for at, level in enumerate(_levels(lines)) if level]
        found = [at for at in headings if lines[at].strip() == self.heading]
        if len(found) != 1:
            raise (SeveralMatches if found else NoMatch)(f"one heading '{self.heading}'", str(len(found) or "none"))
        (begin,), level = found, _level(self.heading)
        ends = [at for at in headings if at > begin and _level(lines[at]) <= level]
        end = ends[0] if ends else len(lines)
        return "\n".join([*"\n".join(lines[:end]).rstrip("\n").split("\n"), "", new, "", *lines[end:]])


@dataclass(frozen=True)
class AppendLines:
    """Append lines to a file that does not contain them yet."""

    text: str

    def __call__(self, document: str) -> str:
        new = self.text.strip("\n")
        return document if new in document else f"{document.rstrip(chr(10))}\n{new}\n"


def _level(heading: str) -> int:
    return len(heading) - len(heading.lstrip("#"))


def _levels(lines: list[str]) -> list[int]:
    """Return the heading level of each line; 0 for lines of text and of code blocks."""
    levels, in_code = [], False
    for line in lines:
        in_code ^= line.lstrip().startswith("```")
        levels.append(_level(line) if line.startswith("#") and not in_code else 0)
    return levels
