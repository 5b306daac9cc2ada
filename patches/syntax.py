# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Finding, comparing and replacing parts of a syntax tree, and what is raised where that cannot be."""

import ast
import hashlib
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, Literal

import libcst as cst
from libcst import matchers as m
from libcst.codemod import CodemodContext
from libcst.codemod.visitors import AddImportsVisitor, RemoveImportsVisitor
from libcst.helpers import get_full_name_for_node as full_name


_IMPORT = m.SimpleStatementLine([m.Import() | m.ImportFrom()])
_STATEMENT = m.SimpleStatementLine() | m.If() | m.For() | m.While() | m.With() | m.Try() | m.FunctionDef()


class EditError(Exception):
    """An edit does not fit its file: what it expected, what is found instead, and the nodes where that is."""

    def __init__(self, expected: str, found: str, nodes: Sequence[Any] = ()) -> None:
        super().__init__(expected, found)
        self.expected, self.found, self.nodes = expected, found, nodes
        self.context = self.advice = ""

    def __str__(self) -> str:
        return f"{self.context}expected {self.expected}, found {self.found}{self.advice}"


class NoMatch(EditError):
    """The place that the edit names is gone."""


class SeveralMatches(EditError):
    """The place that the edit names is not unique."""


class Changed(EditError):
    """What stands in the place is not what the edit was written for."""


class AlreadyApplied(EditError):
    """The file has what the edit would bring."""


class OtherPath(EditError):
    """The file has a second path beside the one that the edit changes, which would go on without it."""


class NotForIt(EditError):
    """No form of the edit is for this version of upstream."""


class NotHere(EditError):
    """What is given of upstream has no such files: a wheel no scripts, say."""


def statements(code: str) -> list[Any]:
    """Parse statements; a comment above them is the first one's."""
    module = cst.parse_module(textwrap.dedent(code).strip("\n") + "\n")
    if not module.body:
        if code.strip():
            raise EditError("statements", "comments alone")
        return []
    first, *rest = module.body
    return [first.with_changes(leading_lines=[*module.header, *first.leading_lines]), *rest]


def meaning(code: Any) -> str:
    """Return what an expression, a node or its code, a symbol or statements mean, whatever their layout is."""
    if isinstance(code, cst.Module | cst.BaseStatement):
        code = code.body if isinstance(code, cst.Module) else [code]
    if isinstance(code, cst.CSTNode):
        code = cst.Module([]).code_for_node(code)
    return ast.dump(ast.parse(f"(\n{code}\n)" if isinstance(code, str) else cst.Module(code).code))


def digest(text: str) -> str:
    """Return what stands in an edit for a text that it replaces."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def one(nodes: Sequence[Any], expected: str, count: int = 1) -> Any:
    """Return the first of as many nodes as there must be; raise NoMatch or SeveralMatches for another number."""
    if len(nodes) != count:
        raise (NoMatch if len(nodes) < count else SeveralMatches)(expected, str(len(nodes) or "none"), nodes)
    return nodes[0]


def equal(scope: cst.CSTNode, code: cst.CSTNode) -> list[Any]:
    """Find the expressions that mean the same as another one."""
    wanted = meaning(code)
    return list(m.findall(scope, m.MatchIfTrue(lambda node: type(node) is type(code) and meaning(node) == wanted)))


def calls(scope: cst.CSTNode, name: str) -> list[Any]:
    """Find the calls of a function, by its name as it is written there."""
    return [call for call in m.findall(scope, m.Call()) if full_name(call.func) == name]  # type: ignore[attr-defined]


def holds(scope: cst.CSTNode, code: Sequence[Any]) -> bool:
    """Return whether statements stand somewhere in a symbol, one after the other."""
    bodies: list[Any] = [block.body for block in m.findall(scope, m.IndentedBlock())]  # type: ignore[attr-defined]
    bodies += [scope.body] if isinstance(scope, cst.Module) else []
    runs = [body[at : at + len(code)] for body in bodies for at in range(len(body) - len(code) + 1)]
    kinds, wanted = [type(node) for node in code], meaning(code)
    return any([type(node) for node in run] == kinds and meaning(run) == wanted for run in runs)


def statement_around(scope: cst.CSTNode, node: cst.CSTNode) -> Any:
    """Return the innermost statement that holds a node."""
    itself: m.MatchIfTrue[Any] = m.MatchIfTrue(lambda other: other is node)
    return [each for each in m.findall(scope, _STATEMENT) if m.findall(each, itself)][-1]


class _Replacing(cst.CSTTransformer):
    def __init__(self, nodes: Sequence[cst.CSTNode], change: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self._nodes, self._change = nodes, change

    def on_leave(self, original_node: Any, updated_node: Any) -> Any:
        return self._change(original_node, updated_node) if original_node in self._nodes else updated_node


def replace(scope: Any, nodes: Sequence[cst.CSTNode], change: Callable[[Any, Any], Any]) -> Any:
    """Replace nodes, one of which may hold another, by what is made of each, as it was and with the changes in it."""
    return scope.visit(_Replacing(nodes, change))


def put(scope: Any, new: Sequence[Any], where: Literal["before", "after", "instead of"], old: Any) -> Any:
    """Put statements beside or in place of another one. Comments stay, but for those of what nothing replaces."""
    lines = list(old.leading_lines)
    if where == "before":
        lines = lines[: next((at for at, line in enumerate(lines) if line.comment), len(lines))]
    if where != "after":
        new = [*(node.with_changes(leading_lines=[*lines, *node.leading_lines]) for node in new[:1]), *new[1:]]
    nodes = {"before": [*new, old], "after": [old, *new], "instead of": new}[where]
    if nodes:
        return replace(scope, [old], lambda *_: cst.FlattenSentinel(nodes))
    blocks: list[Any] = m.findall(scope, m.IndentedBlock())  # type: ignore[assignment]
    blocks += [scope] if isinstance(scope, cst.Module) else []
    body = next(block.body for block in blocks if old in block.body)
    # A comment right below belongs to what goes, as `# else: ...` does.
    below = [node for node in body[body.index(old) + 1 :][:1] if any(line.comment for line in node.leading_lines[:1])]
    gone = cst.RemoveFromParent()
    return replace(scope, [old, *below], lambda node, now: gone if node is old else now.with_changes(leading_lines=[]))


def change_symbol(scope: Any, names: Sequence[str], change: Callable[[Any], Any]) -> Any:
    """Change a function or a class that stands in a scope, by the names that lead to it; none for the scope."""
    if not names:
        return change(scope)
    block = scope if isinstance(scope, cst.Module) else scope.body
    named = m.FunctionDef(m.Name(names[0])) | m.ClassDef(m.Name(names[0]))
    old = one([node for node in block.body if m.matches(node, named)], f"one function or class '{names[0]}'")
    new = change_symbol(old, names[1:], change)
    block = block.with_changes(body=[new if node is old else node for node in block.body])
    return block if isinstance(scope, cst.Module) else scope.with_changes(body=block)


def change_imports(module: cst.Module, imports: Sequence[str], unused: Sequence[str]) -> cst.Module:
    """Import names where they are not, and remove those that nothing uses any more; see Edit."""
    add, remove = CodemodContext(), CodemodContext()
    for line in imports:
        for node in m.findall(cst.parse_statement(line), m.ImportFrom()):
            for alias in node.names:  # type: ignore[attr-defined]
                AddImportsVisitor.add_needed_import(add, full_name(node.module), alias.evaluated_name)  # type: ignore
    if imports:
        # What follows the imports need not be looked at.
        end = max((at + 1 for at, node in enumerate(module.body) if m.matches(node, _IMPORT)), default=0)
        head = AddImportsVisitor(add).transform_module(module.with_changes(body=module.body[:end]))
        module = head.with_changes(body=[*head.body, *module.body[end:]])
    for name in unused:
        source, _, last = name.rpartition(".")
        RemoveImportsVisitor.remove_unused_import(remove, source or last, last if source else None)
    return RemoveImportsVisitor(remove).transform_module(module) if unused else module
