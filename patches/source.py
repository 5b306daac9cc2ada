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

"""Python source with its LibCST tree, and how edits find their places in it.

Places are found in the tree and changed in the text, so whatever an edit does not touch stays as it is,
byte for byte.
"""

import ast
import io
import textwrap
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import libcst as cst
from libcst.metadata import ByteSpanPositionProvider, MetadataWrapper

from patches.errors import NoMatch, SeveralMatches


Scope = cst.Module | cst.FunctionDef | cst.ClassDef
Block = cst.Module | cst.IndentedBlock
Statement = cst.SimpleStatementLine | cst.BaseCompoundStatement
Node = TypeVar("Node", bound=cst.CSTNode)


@dataclass(frozen=True)
class Splice:
    """One change of the text: what lies between two offsets gives way to new text.

    Args:
        start: Offset of the first character replaced.
        end: Offset after the last character replaced.
        text: The new text.
        fold: Whether a line that becomes too long is broken at its brackets.
    """

    start: int
    end: int
    text: str
    fold: bool = False


@dataclass(frozen=True)
class Found:
    """A node with the nodes around it, outermost first."""

    node: cst.CSTNode
    parents: tuple[cst.CSTNode, ...]

    @property
    def chain(self) -> tuple[cst.CSTNode, ...]:
        """The nodes around it, outermost first, and the node itself."""
        return (*self.parents, self.node)


class Source:
    """A text, the tree of some of its lines, and where each node stands in the text.

    Args:
        text: The text.
        lines: The first line to parse and the last one, from 1; the whole text if not given. They hold one
            definition.
    """

    def __init__(self, text: str, lines: tuple[int, int] | None = None) -> None:
        part, offset = text, 0
        if lines:
            rows = text.splitlines(keepends=True)
            part, offset = "".join(rows[lines[0] - 1 : lines[1]]), len("".join(rows[: lines[0] - 1]))
        header = "if 1:\n" if part.startswith((" ", "\t")) else ""
        wrapper = MetadataWrapper(cst.parse_module(header + part), unsafe_skip_copy=True)
        self.text = text
        self.module = wrapper.module
        self._spans = wrapper.resolve(ByteSpanPositionProvider)
        self._bytes = None if text.isascii() else (header + part).encode()
        self._shift = offset - len(header)

    def _offset(self, byte: int) -> int:
        return self._shift + (byte if self._bytes is None else len(self._bytes[:byte].decode()))

    def start(self, node: cst.CSTNode) -> int:
        """Offset of the node's first character; a decorated definition begins with its decorators."""
        if isinstance(node, cst.FunctionDef | cst.ClassDef) and node.decorators:
            node = node.decorators[0]
        return self._offset(self._spans[node].start)

    def keyword(self, node: cst.FunctionDef | cst.ClassDef) -> int:
        """Offset of a definition's first word."""
        return self._offset(self._spans[node].start)

    def end(self, node: cst.CSTNode) -> int:
        """Offset after the node's last character."""
        span = self._spans[node]
        return self._offset(span.start + span.length)

    def code(self, node: cst.CSTNode) -> str:
        """The node's text, without parentheses around it."""
        return self.text[self.start(node) : self.end(node)]

    def outer(self, node: cst.BaseExpression) -> tuple[int, int]:
        """The node's span, with the parentheses around it."""
        start = self.start(node.lpar[0]) if node.lpar else self.start(node)
        return start, self.end(node.rpar[-1]) if node.rpar else self.end(node)

    def line(self, node: cst.CSTNode) -> int:
        """The number of the line in which the node begins."""
        return self.text.count("\n", 0, self.start(node)) + 1

    def line_start(self, offset: int) -> int:
        """Offset of the first character of the line around an offset."""
        return self.text.rfind("\n", 0, offset) + 1

    def line_end(self, offset: int) -> int:
        """Offset of the newline that ends the line around an offset, or the text's end."""
        end = self.text.find("\n", offset)
        return len(self.text) if end < 0 else end

    def indent(self, offset: int) -> str:
        """The white space that opens the line around an offset."""
        line = self.text[self.line_start(offset) : self.line_end(offset)]
        return line[: len(line) - len(line.lstrip())]

    def above(self, statement: Statement) -> int:
        """Offset of the line where the statement begins, or of the comment that stands right above it."""
        offset = self.line_start(self.start(statement))
        if statement is self.module.body[0]:
            return offset
        while offset and self.text[self.line_start(offset - 1) : offset].lstrip().startswith("#"):
            offset = self.line_start(offset - 1)
        return offset

    def below(self, statement: Statement) -> int:
        """Offset of the line after the statement and after the comments that close its last block."""
        end = self.line_end(self.end(statement))
        depth = len(self.indent(self.start(statement)))
        while end < len(self.text):
            line = self.text[end + 1 : self.line_end(end + 1)]
            if not line.lstrip().startswith("#") or len(line) - len(line.lstrip()) <= depth:
                break
            end = self.line_end(end + 1)
        return min(end + 1, len(self.text))

    def lines(self, nodes: Sequence[cst.CSTNode]) -> str:
        """The nodes' line numbers, for a message."""
        return _numbered(self.line(node) for node in nodes)


def _numbered(lines: Iterable[int]) -> str:
    numbers = sorted(lines)
    return f"line{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"


def children(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """The nodes directly below a node."""
    for field in fields(node):
        value = getattr(node, field.name)
        for child in value if isinstance(value, list | tuple) else (value,):
            if isinstance(child, cst.CSTNode):
                yield child


def search(scope: Scope) -> Iterator[Found]:
    """Every node in a symbol's body.

    A module's and a class's body ends where a function or a class begins, which is a symbol of its own; a
    function's body takes in the functions nested in it.
    """

    def walk(node: cst.CSTNode, parents: tuple[cst.CSTNode, ...]) -> Iterator[Found]:
        for child in children(node):
            if isinstance(scope, cst.FunctionDef) or not isinstance(child, cst.FunctionDef | cst.ClassDef):
                yield Found(child, (*parents, node))
                yield from walk(child, (*parents, node))

    yield from walk(block_of(scope), ())


def block_of(scope: Scope) -> Block:
    """The block of statements that is a symbol's body.

    Raises:
        NoMatch: If the body stands in the definition's own line.
    """
    if isinstance(scope, cst.Module):
        return scope
    if isinstance(scope.body, cst.IndentedBlock):
        return scope.body
    raise NoMatch("an indented body", f"the body of '{scope.name.value}' in the line of its definition")


def open_symbol(text: str, symbol: str) -> tuple[Source, Scope]:
    """The function or class that a dotted name stands for; the module for "".

    Args:
        text: The module's text.
        symbol: Names joined by dots, each defined in the body of the one before it.

    Raises:
        NoMatch: If there is none.
        SeveralMatches: If the name is defined more than once.
    """
    if not symbol:
        source = Source(text)
        return source, source.module
    found = list(_definitions(ast.parse(text)))
    path: list[str] = []
    for name in symbol.split("."):
        path.append(name)
        found = [node for node in found if node.name == name]
        expected = f"one function or class '{'.'.join(path)}'"
        if not found:
            raise NoMatch(expected, "none")
        if len(found) > 1:
            raise SeveralMatches(expected, len(found), _numbered(node.lineno for node in found))
        node = found[0]
        found = list(_definitions(node))
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    source = Source(text, (first, node.end_lineno or first))
    return source, next(node for node in _nodes(source.module) if isinstance(node, cst.FunctionDef | cst.ClassDef))


Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _definitions(node: ast.AST) -> Iterator[Definition]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Definition):
            yield child
        elif isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
            yield from _definitions(child)


def _nodes(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    for child in children(node):
        yield child
        yield from _nodes(child)


def one(source: Source, nodes: Sequence[Node], expected: str, otherwise: str = "none") -> Node:
    """The only one of some nodes.

    Args:
        source: Where the nodes stand.
        nodes: What was found.
        expected: What was looked for, for the message.
        otherwise: What to say that was found where `nodes` is empty.

    Raises:
        NoMatch: If there is none.
        SeveralMatches: If there are more.
    """
    if not nodes:
        raise NoMatch(expected, otherwise)
    if len(nodes) > 1:
        raise SeveralMatches(expected, len(nodes), source.lines(nodes))
    return nodes[0]


def docstring(scope: Scope) -> cst.SimpleString | None:
    """The string that documents a symbol."""
    body = block_of(scope).body
    if body and isinstance(body[0], cst.SimpleStatementLine) and isinstance(body[0].body[0], cst.Expr):
        value = body[0].body[0].value
        return value if isinstance(value, cst.SimpleString) else None
    return None


def place_of(found: Found) -> tuple[Block, int]:
    """The block, and the index in it, of the innermost statement around a node that has lines of its own."""
    for parent, child in reversed(list(zip(found.chain, found.chain[1:]))):
        if isinstance(parent, cst.Module | cst.IndentedBlock):
            for index, statement in enumerate(parent.body):
                if statement is child:
                    return parent, index
    raise NoMatch("a statement in an indented block", "none")


def expression(code: str) -> ast.expr:
    """The syntax of an expression, free of white space, comments and parentheses."""
    return ast.parse(f"({code}\n)", mode="eval").body


def same(code: str, other: str) -> bool:
    """Whether two expressions are the same but for white space, comments and parentheses."""
    return ast.dump(expression(code)) == ast.dump(expression(other))


def statements(code: str, indent: str = "") -> list[str]:
    """The syntax of statements, free of white space and comments.

    Args:
        code: The statements; all lines but the first are indented by `indent`.
        indent: That white space.
    """
    # An indented block needs a line to belong to.
    wrapped = ast.parse(f"if 1:\n{indent}{code}" if indent else f"if 1: pass\n{code}")
    first = wrapped.body[0]
    assert isinstance(first, ast.If)
    body = first.body if indent else wrapped.body[1:]
    for node in ast.walk(wrapped):
        if isinstance(node, Definition) and (documentation := ast.get_docstring(node)):
            node.body[0] = ast.Expr(ast.Constant(documentation))
    return [ast.dump(statement) for statement in body]


def runs(source: Source, scope: Scope, code: str) -> list[tuple[Block, range]]:
    """Where some statements stand in a symbol's body, one after the other.

    Args:
        source: The text.
        scope: The symbol.
        code: The statements.

    Returns:
        For each such place the block and the statements' indices in it.
    """
    wanted = statements(code)
    kinds = [type(node) for node in cst.parse_module(code).body]
    if not kinds:
        return []
    found: list[tuple[Block, range]] = []
    for block in blocks(scope):
        for index in range(len(block.body) - len(kinds) + 1):
            part = block.body[index : index + len(kinds)]
            if kinds == [type(node) for node in part] and wanted == [_syntax(source, node) for node in part]:
                found.append((block, range(index, index + len(kinds))))
    return found


def blocks(scope: Scope) -> Iterator[Block]:
    """The blocks of statements in a symbol's body, itself the first."""
    yield block_of(scope)
    for found in search(scope):
        if isinstance(found.node, cst.IndentedBlock):
            yield found.node


def lines_of(block: Block) -> list[Statement]:
    """A block's statements."""
    return [node for node in block.body if isinstance(node, cst.SimpleStatementLine | cst.BaseCompoundStatement)]


def _syntax(source: Source, statement: cst.CSTNode) -> str:
    return ";".join(statements(source.code(statement), source.indent(source.start(statement))))


def indent_statements(code: str, indent: str) -> str:
    """Move statements to the right, except the lines that begin inside a string."""
    inside = _lines_in_strings(code)
    return "\n".join(
        indent + line if line and number not in inside else line for number, line in enumerate(code.split("\n"))
    )


def move_expression(code: str, old: str, new: str) -> str:
    """Change the indentation of an expression's lines but the first, and those that begin inside a string.

    Args:
        code: The expression.
        old: White space that opens its lines now.
        new: White space in place of it.
    """
    inside = {number - 1 for number in _lines_in_strings(f"(\n{code}\n)")}
    first, *rest = code.split("\n")
    moved = [
        new + line.removeprefix(old) if line and number not in inside else line
        for number, line in enumerate(rest, start=1)
    ]
    return "\n".join([first, *moved])


def _lines_in_strings(code: str) -> set[int]:
    """Numbers, from 0, of the lines that begin inside a string which is not a docstring."""
    inside: set[int] = set()
    opened: list[int] = []
    opens_statement = True
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type == tokenize.STRING and not opens_statement:
            inside.update(range(token.start[0], token.end[0]))
        elif token.type == tokenize.FSTRING_START:
            opened.append(token.start[0])
        elif token.type == tokenize.FSTRING_END:
            inside.update(range(opened.pop(), token.end[0]))
        if token.type not in (tokenize.COMMENT, tokenize.NL):
            opens_statement = token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    return inside


def tidy(code: str) -> str:
    """Code as an edit gives it, at the left margin and without the line breaks at its two ends."""
    return textwrap.dedent(code).removeprefix("\n").removesuffix("\n")
