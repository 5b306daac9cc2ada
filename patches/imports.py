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

"""Where upstream's isort settings put an import."""

import re
import sys
from dataclasses import dataclass
from typing import Any

import libcst as cst

from patches.errors import AlreadyApplied
from patches.layout import INDENT, LINE_LENGTH
from patches.source import Source, Splice, docstring


FIRST_PARTY = "megatron.bridge"
FUTURE, STANDARD, THIRD_PARTY, FIRST, LOCAL = range(5)


@dataclass(frozen=True)
class Import:
    """One import statement.

    Args:
        module: What is imported, or imported from, with the dots of a relative import.
        names: What is imported from it, each as written; empty for `import x`.
        alias: The name after `as` of `import x as y`.
    """

    module: str
    names: tuple[str, ...] = ()
    alias: str = ""

    @property
    def section(self) -> int:
        """The section that the import belongs to."""
        if self.module.startswith("."):
            return LOCAL
        if self.module == FIRST_PARTY or self.module.startswith(f"{FIRST_PARTY}."):
            return FIRST
        if self.module == "__future__":
            return FUTURE
        return STANDARD if self.module.partition(".")[0] in sys.stdlib_module_names else THIRD_PARTY

    @property
    def key(self) -> tuple[Any, ...]:
        """What imports are sorted by."""
        dots = len(self.module) - len(self.module.lstrip("."))
        first = _name_key(self.names[0]) if self.names else ()
        return self.section, bool(self.names), -dots, *_natural(self.module), first, self.alias

    @property
    def renames(self) -> bool:
        """Whether it has the form `from x import y as z`, which isort leaves a line of its own."""
        return any(" as " in name for name in self.names)

    def code(self) -> str:
        """The statement."""
        if not self.names:
            return f"import {self.module}" + (f" as {self.alias}" if self.alias else "")
        line = f"from {self.module} import {', '.join(self.names)}"
        if len(line) <= LINE_LENGTH:
            return line
        return f"from {self.module} import (\n{''.join(f'{INDENT}{name},\n' for name in self.names)})"


def _natural(name: str) -> tuple[Any, ...]:
    def parts(text: str) -> list[tuple[bool, int, str]]:
        return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", text)]

    return parts(name.lower()), parts(name)


def _name_key(name: str) -> tuple[Any, ...]:
    plain = name.partition(" as ")[0]
    kind = 0 if plain.isupper() and len(plain) > 1 else 1 if plain[:1].isupper() else 2
    return kind, *_natural(name)


def read_import(node: cst.Import | cst.ImportFrom) -> Import:
    """The import that a node stands for."""
    code = cst.Module([]).code_for_node
    if isinstance(node, cst.Import):
        alias = node.names[0]
        return Import(code(alias.name), alias=alias.evaluated_alias or "")
    module = "." * len(node.relative) + (code(node.module) if node.module else "")
    if isinstance(node.names, cst.ImportStar):
        return Import(module, ("*",))
    return Import(module, tuple(code(alias.with_changes(comma=cst.MaybeSentinel.DEFAULT)) for alias in node.names))


def import_of(statement: cst.CSTNode) -> cst.Import | cst.ImportFrom | None:
    """The import that a line consists of."""
    if isinstance(statement, cst.SimpleStatementLine) and isinstance(statement.body[0], cst.Import | cst.ImportFrom):
        return statement.body[0]
    return None


def imports(source: Source) -> list[tuple[cst.SimpleStatementLine, Import]]:
    """The import statements at the module's top level."""
    return [
        (statement, read_import(node))
        for statement in source.module.body
        if isinstance(statement, cst.SimpleStatementLine) and (node := import_of(statement))
    ]


def add_import(source: Source, code: str) -> Splice:
    """The change that adds an import.

    Args:
        source: The module.
        code: The import statement.

    Raises:
        AlreadyApplied: If the module has it.
    """
    node = import_of(cst.parse_module(code).body[0])
    assert node is not None, f"not an import: {code}"
    new = read_import(node)
    known = imports(source)
    alike = [(line, old) for line, old in known if (old.module, old.alias) == (new.module, new.alias)]
    alike = [(line, old) for line, old in alike if bool(old.names) == bool(new.names)]
    missing = tuple(name for name in new.names if not any(name in old.names for _, old in alike))
    if alike and not missing:
        raise AlreadyApplied("no such import yet", f"it in {source.lines([line for line, _ in alike])}")
    new = Import(new.module, missing, new.alias)
    mergeable = [line for line, old in alike if not old.renames and "*" not in old.names]
    if mergeable and not new.renames:
        return _merge(source, mergeable[0], missing)
    return _insert(source, new)


def _merge(source: Source, line: cst.SimpleStatementLine, names: tuple[str, ...]) -> Splice:
    """Add names to an import statement, one to a line where its names stand one to a line."""
    node = line.body[0]
    assert isinstance(node, cst.ImportFrom)
    old = read_import(node)
    if "\n" not in source.code(node):
        new = Import(old.module, tuple(sorted({*old.names, *names}, key=_name_key)))
        return Splice(source.start(node), source.end(node), new.code())
    assert not isinstance(node.names, cst.ImportStar)
    start = source.line_start(source.start(node.names[0]))
    end = source.line_end(source.end(node.names[-1]))
    rows = source.text[start:end].split("\n")
    for name in sorted(names, key=_name_key):
        rows.insert(_row_for(name, rows), f"{INDENT}{name},")
    return Splice(start, end, "\n".join(rows))


def _row_for(name: str, rows: list[str]) -> int:
    """Where a name goes among rows of names and of comments, each of which belongs to the name below it."""
    at = 0
    for index, row in enumerate(rows, start=1):
        if not row.lstrip().startswith("#"):
            if _name_key(row.partition("#")[0].strip(" ,")) > _name_key(name):
                break
            at = index
    return at


def _insert(source: Source, new: Import) -> Splice:
    """Add an import statement to the first block of imports that has its section, or to the first of all."""
    blocks = _blocks(source)
    if not blocks:
        return _first_import(source, new)
    fitting = (block for block in blocks if any(old.section == new.section for _, old in block))
    block = next(fitting, blocks[0])
    after = next((index for index, (_, old) in enumerate(block) if old.key > new.key), len(block))
    previous = block[after - 1] if after else None
    following = block[after] if after < len(block) else None
    if following and following[1].section == new.section:
        offset = source.above(following[0])
        return Splice(offset, offset, f"{new.code()}\n")
    if previous:
        offset = source.below(previous[0])
        blank = "" if previous[1].section == new.section else "\n"
        return Splice(offset, offset, f"{blank}{new.code()}\n")
    offset = source.above(block[0][0])
    return Splice(offset, offset, f"{new.code()}\n\n")


def _blocks(source: Source) -> list[list[tuple[cst.SimpleStatementLine, Import]]]:
    """The runs of import statements at the module's top level."""
    blocks: list[list[tuple[cst.SimpleStatementLine, Import]]] = [[]]
    for statement in source.module.body:
        node = import_of(statement)
        if node and isinstance(statement, cst.SimpleStatementLine):
            blocks[-1].append((statement, read_import(node)))
        elif blocks[-1]:
            blocks.append([])
    return [block for block in blocks if block]


def _first_import(source: Source, new: Import) -> Splice:
    """Add an import to a module that has none."""
    body = source.module.body
    documented = docstring(source.module) is not None
    rest = body[1:] if documented else body
    if documented:
        offset = source.below(body[0])
        follow = source.text[offset:]
        blank = len(follow) - len(follow.lstrip("\n"))
        return Splice(offset, offset + blank, f"\n{new.code()}\n" + ("\n\n" if rest else ""))
    offset = source.above(body[0]) if body else len(source.text)
    return Splice(offset, offset, f"{new.code()}\n" + ("\n\n" if rest else ""))
