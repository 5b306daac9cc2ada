# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Finds, compares and replaces parts of a syntax tree. Contains the errors of edits."""

import ast
import hashlib
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import libcst as cst
from libcst import matchers as m
from libcst.helpers import get_full_name_for_node as full_name


_IMPORT = m.SimpleStatementLine([m.Import() | m.ImportFrom()])
_STATEMENTS = (cst.SimpleStatementLine, cst.If, cst.For, cst.While, cst.With, cst.Try, cst.FunctionDef)


class EditError(Exception):
    """An edit does not fit its file: what it expects, what the file contains instead, and the nodes of that."""

    def __init__(self, expected: str, found: str, nodes: Sequence[Any] = ()) -> None:
        super().__init__(expected, found)
        self.expected, self.found, self.nodes = expected, found, nodes
        self.context = self.advice = ""

    def __str__(self) -> str:
        return f"{self.context}expected {self.expected}, found {self.found}{self.advice}"


class NoMatch(EditError):
    """The file does not contain the place of the edit."""


class SeveralMatches(EditError):
    """The file contains the place of the edit more than once."""


class Changed(EditError):
    """The code at the place is not the code that the edit was written for."""


class AlreadyApplied(EditError):
    """The file already contains the change."""


class OtherPath(EditError):
    """The file contains a second implementation, which the edit does not change."""


class NotForIt(EditError):
    """No form of the edit is for this version of upstream."""


class NotHere(EditError):
    """This form of upstream has no such files. For example, a wheel has no scripts."""


def statements(code: str) -> list[Any]:
    """Parse statements. A comment above them belongs to the first one."""
    module = cst.parse_module(textwrap.dedent(code).strip("\n") + "\n")
    if not module.body:
        if code.strip():
            raise EditError("statements", "comments alone")
        return []
    first, *rest = module.body
    return [first.with_changes(leading_lines=[*module.header, *first.leading_lines]), *rest]


def meaning(code: Any) -> str:
    """Return the syntax tree of an expression, a node or statements as text, without their layout."""
    if isinstance(code, cst.Module | cst.BaseStatement):
        code = code.body if isinstance(code, cst.Module) else [code]
    if isinstance(code, cst.CSTNode):
        code = cst.Module([]).code_for_node(code)
    return ast.dump(ast.parse(f"(\n{code}\n)" if isinstance(code, str) else cst.Module(code).code))


def digest(text: str) -> str:
    """Return the digest by which an edit names the text that it replaces."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def one(nodes: Sequence[Any], expected: str, count: int = 1) -> Any:
    """Return the first of an expected number of nodes. Raise NoMatch or SeveralMatches for another number."""
    if len(nodes) != count:
        raise (NoMatch if len(nodes) < count else SeveralMatches)(expected, str(len(nodes) or "none"), nodes)
    return nodes[0]


def find(scope: cst.CSTNode, *kinds: type) -> list[Any]:
    """Find the nodes of some kinds in a node, outer ones before inner ones."""
    found: list[Any] = [scope] if type(scope) in kinds else []
    for _, nodes in _children(scope):
        for node in nodes if isinstance(nodes, list | tuple) else [nodes]:
            found += find(node, *kinds)
    return found


def _children(node: Any) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a node that hold a node or nodes. LibCST's own visitors are many times slower."""
    for name in node.__dataclass_fields__:
        value = getattr(node, name)
        first = value[0] if isinstance(value, list | tuple) and value else value
        if hasattr(first, "__dataclass_fields__") and not name.startswith("whitespace"):
            yield name, value


def equal(scope: cst.CSTNode, code: cst.CSTNode) -> list[Any]:
    """Find the expressions that mean the same as another one."""
    wanted = meaning(code)
    return [node for node in find(scope, type(code)) if meaning(node) == wanted]


def calls(scope: cst.CSTNode, name: str) -> list[Any]:
    """Find the calls of a function, by its name as the file writes it."""
    return [call for call in find(scope, cst.Call) if full_name(call.func) == name]


def holds(scope: cst.CSTNode, code: Sequence[Any]) -> bool:
    """Return whether a symbol contains statements, one after the other."""
    bodies = [block.body for block in find(scope, cst.IndentedBlock, cst.Module)]
    runs = [body[at : at + len(code)] for body in bodies for at in range(len(body) - len(code) + 1)]
    kinds, wanted = [type(node) for node in code], meaning(code)
    return any([type(node) for node in run] == kinds and meaning(run) == wanted for run in runs)


def statement_around(scope: cst.CSTNode, node: cst.CSTNode) -> Any:
    """Return the innermost statement that contains a node."""
    around = [each for each in find(scope, *_STATEMENTS) if any(other is node for other in find(each, type(node)))]
    return around[-1]


def replace(scope: Any, nodes: Sequence[cst.CSTNode], change: Callable[[Any, Any], Any]) -> Any:
    """Replace nodes, which may contain each other, by the result of a function.

    It gets a node before and after the changes inside it. It returns a node or, in a body, a list of nodes.
    """
    changes: dict[str, Any] = {}
    for name, value in _children(scope):
        if isinstance(value, list | tuple):
            each = [replace(node, nodes, change) for node in value]
            if any(new is not old for new, old in zip(each, value)):
                changes[name] = [node for new in each for node in (new if isinstance(new, list) else [new])]
        elif (new := replace(value, nodes, change)) is not value:
            changes[name] = new
    updated = scope.with_changes(**changes) if changes else scope
    return change(scope, updated) if any(scope is node for node in nodes) else updated


def put(scope: Any, new: Sequence[Any], where: Literal["before", "after", "instead of"], old: Any) -> Any:
    """Put statements next to another one, or in its place. Keep its comments, unless nothing replaces it."""
    lines = list(old.leading_lines)
    if where == "before":
        lines = lines[: next((at for at, line in enumerate(lines) if line.comment), len(lines))]
    if where != "after":
        new = [*(node.with_changes(leading_lines=[*lines, *node.leading_lines]) for node in new[:1]), *new[1:]]
    nodes = {"before": [*new, old], "after": [old, *new], "instead of": new}[where]
    if nodes:
        return replace(scope, [old], lambda *_: nodes)
    body = next(block.body for block in find(scope, cst.IndentedBlock, cst.Module) if old in block.body)
    # A comment right below belongs to the removed statement, as in `# else: ...`.
    below = [node for node in body[body.index(old) + 1 :][:1] if any(line.comment for line in node.leading_lines[:1])]
    return replace(scope, [old, *below], lambda node, now: [] if node is old else now.with_changes(leading_lines=[]))


def change_symbol(scope: Any, names: Sequence[str], change: Callable[[Any], Any]) -> Any:
    """Change a function or a class in a scope, by the names that lead to it. Without names, change the scope."""
    if not names:
        return change(scope)
    block = scope if isinstance(scope, cst.Module) else scope.body
    named = m.FunctionDef(m.Name(names[0])) | m.ClassDef(m.Name(names[0]))
    old = one([node for node in block.body if m.matches(node, named)], f"one function or class '{names[0]}'")
    new = change_symbol(old, names[1:], change)
    block = block.with_changes(body=[new if node is old else node for node in block.body])
    return block if isinstance(scope, cst.Module) else scope.with_changes(body=block)


def add_imports(module: cst.Module, imports: Sequence[str]) -> cst.Module:
    """Import names above the first import; the formatter sorts the imports and merges them."""
    new = [node for line in imports for node in statements(line)]
    documented = int(module.get_docstring() is not None)
    at = next((at for at, node in enumerate(module.body) if m.matches(node, _IMPORT)), documented)
    return module.with_changes(body=[*module.body[:at], *new, *module.body[at:]])
