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

"""Changes to Google style docstrings."""

import inspect
import re

from patches.errors import AlreadyApplied, NoMatch
from patches.layout import INDENT
from patches.source import Scope, Source, Splice, docstring, tidy


class Docstring:
    """The lines of a symbol's docstring.

    Args:
        source: Where the symbol stands.
        scope: The symbol.

    Raises:
        NoMatch: If it has no docstring.
    """

    def __init__(self, source: Source, scope: Scope) -> None:
        node = docstring(scope)
        if node is None:
            raise NoMatch("a docstring", "none")
        self._start, self._end = source.start(node), source.end(node)
        self._open, self._close = node.prefix + node.quote, node.quote
        self.indent = source.indent(self._start)
        self.value = inspect.cleandoc(str(node.evaluated_value))
        self.lines = node.raw_value.split("\n")

    def splice(self) -> Splice:
        """The change that writes the lines back."""
        return Splice(self._start, self._end, self._open + "\n".join(self.lines) + self._close)

    def section(self, title: str) -> range | None:
        """Indices of the lines below a section's title, without the blank ones at its end."""
        if self.indent + title not in self.lines:
            return None
        first = self.lines.index(self.indent + title) + 1
        last = first
        for index, line in enumerate(self.lines[first:], start=first):
            if line.strip() and not line.startswith(self.indent + " "):
                break
            if line.strip():
                last = index + 1
        return range(first, last)

    def add_argument(self, doc: str, before: str | None) -> None:
        """Put an entry at the end of the section `Args:`.

        Args:
            doc: The entry.
            before: The name of the `**` parameter, whose entry stays the last one.

        Raises:
            NoMatch: If there is no such section.
        """
        section = self.section("Args:")
        if section is None:
            raise NoMatch("a section 'Args:' in the docstring", "none")
        last = re.compile(rf"\s*(\*\*)?{re.escape(before)}\b") if before else None
        at = next((index for index in section if last and last.match(self.lines[index])), section.stop)
        entry, *rest = inspect.cleandoc(doc).split("\n")
        self._insert(at, [entry, *(INDENT + line if line else "" for line in rest)])

    def extend(self, title: str, code: str) -> None:
        """Put lines at the end of a section, which begins at the docstring's end where there is none.

        Args:
            title: The section's title, with its colon.
            code: The lines.

        Raises:
            AlreadyApplied: If the docstring has the lines.
        """
        lines = tidy(code).split("\n")
        present = [line.strip() for line in self.value.split("\n")]
        wanted = [line.strip() for line in lines]
        if any(present[index : index + len(wanted)] == wanted for index in range(len(present))):
            raise AlreadyApplied(f"no such lines in the docstring's section '{title}' yet", "them there")
        section = self.section(title)
        if section is None:
            self._begin(title)
            section = range(len(self.lines) - 1, len(self.lines) - 1)
        elif title.startswith("Example"):
            lines = ["", *lines]
        self._insert(section.stop, lines)

    def _begin(self, title: str) -> None:
        """Put the title of a new section at the end."""
        while len(self.lines) > 1 and not self.lines[-1].strip():
            self.lines.pop()
        self.lines += ["", self.indent + title, self.indent]

    def _insert(self, at: int, lines: list[str]) -> None:
        self.lines[at:at] = [self.indent + INDENT + line if line else "" for line in lines]

    def rewrite(self, text: str) -> None:
        """Take another text.

        Raises:
            AlreadyApplied: If it is this text already.
        """
        text = inspect.cleandoc(text)
        if self.value == text:
            raise AlreadyApplied("another docstring", "this one")
        first, *rest = text.split("\n")
        self.lines = [first, *(self.indent + line if line else "" for line in rest)]
        if rest:
            self.lines.append(self.indent)
