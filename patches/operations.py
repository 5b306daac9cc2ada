# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The vocabulary in which edits to upstream's files are written.

An operation takes the syntax tree of a function, a class or a module, and returns the edited tree. If the tree already
contains the change, its meaning stays the same. A formatter lays out the result. `was` is the digest of the code that an
operation replaces: if that code differs, the operation raises `Changed`.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import libcst as cst
from libcst import matchers as m
from libcst.helpers import get_full_name_for_node as full_name

from patches.syntax import (
    Changed,
    NoMatch,
    calls,
    digest,
    equal,
    find,
    holds,
    meaning,
    one,
    put,
    replace,
    statement_around,
    statements,
)


Operation = Callable[[Any], Any]


@dataclass(frozen=True)
class AddParameter:
    """Append a parameter, as in `name: type = default`, and `doc`, if any, to the docstring's section `Args:`."""

    code: str
    doc: str
    keyword_only: bool = False

    def __call__(self, scope: Any) -> Any:
        function = cst.ensure_type(cst.parse_statement(f"def f({self.code}): ..."), cst.FunctionDef)
        new, params = function.params.params[0], scope.params
        if any(param.name.value == new.name.value for param in find(params, cst.Param)):
            return scope
        if self.keyword_only:
            star = params.star_arg if isinstance(params.star_arg, cst.Param | cst.ParamStar) else cst.ParamStar()
            params = params.with_changes(star_arg=star, kwonly_params=[*params.kwonly_params, new])
        else:
            # A trailing comma makes the formatter keep one parameter a line.
            comma = params.params[-1].comma if params.params else cst.MaybeSentinel.DEFAULT
            params = params.with_changes(params=[*params.params, new.with_changes(comma=comma)])
        scope = scope.with_changes(params=params)
        return _change_docstring(scope, self._document) if self.doc else scope

    def _document(self, lines: list[str]) -> list[str]:
        if "Args:" not in lines:
            raise NoMatch("a section 'Args:' in the docstring", "none")
        first, *rest = self.doc.split("\n")
        return _add_to_section(lines, "Args:", [first, *(f"    {line}" if line else "" for line in rest)])


@dataclass(frozen=True)
class ExtendDocstring:
    """Append lines to a section of the docstring, by its title with the colon. Add the section if it is missing."""

    section: str
    code: str

    def __call__(self, scope: Any) -> Any:
        return _change_docstring(scope, lambda lines: _add_to_section(lines, self.section, self.code.split("\n")))


@dataclass(frozen=True)
class ReplaceDocstring:
    """Replace the docstring."""

    code: str
    was: str

    def __call__(self, scope: Any) -> Any:
        return _change_docstring(scope, lambda old: self._replace("\n".join(old), scope).split("\n"))

    def _replace(self, old: str, scope: cst.CSTNode) -> str:
        new = inspect.cleandoc(self.code)
        if old != new and digest(old) != self.was:
            raise Changed(f"the docstring of {self.was}", f"that of {digest(old)}", [scope])
        return new


@dataclass(frozen=True)
class ReplaceBody:
    """Replace a function's body below its docstring."""

    code: str
    was: str

    def __call__(self, scope: Any) -> Any:
        new, (kept, body) = statements(self.code), _parted(scope)
        old = meaning(body)
        if old != meaning(new) and digest(old) != self.was:
            raise Changed(f"the body of {self.was}", f"that of {digest(old)}", [scope])
        return scope.with_changes(body=scope.body.with_changes(body=[*kept, *new], footer=[]))


_STATEMENTS = (cst.SimpleStatementLine, cst.If, cst.Try)


@dataclass(frozen=True)
class ReplaceStatement:
    """Replace a statement and the comment above it. Remove them if there is no new code.

    The statement is the one that assigns to a name, the `if` with a test, the `try` whose body calls a function, or the
    import of a module.
    """

    code: str
    was: str
    assigns: str = ""
    tests: str = ""
    tries: str = ""
    imports: str = ""

    def __call__(self, scope: Any) -> Any:
        found = [node for node in find(scope, *_STATEMENTS) if self._fits(node)]
        new, digests = statements(self.code), [digest(meaning([node])) for node in found]
        old = [node for node, each in zip(found, digests) if each == self.was]
        # The new code may contain the old statement.
        kept = [node for each in new for node in find(each, *_STATEMENTS) if digest(meaning([node])) == self.was]
        if (kept or not old) and (holds(scope, new) if new else not found):
            return scope
        if found and not old:
            raise Changed(f"the statement of {self.was}", f"that of {' and '.join(digests)}", found)
        return put(
            scope,
            new,
            "instead of",
            one(old, f"one statement with '{self.assigns or self.tests or self.tries or self.imports}'"),
        )

    def _fits(self, node: Any) -> bool:
        if isinstance(node, cst.If):
            return bool(self.tests) and meaning(node.test) == meaning(self.tests)
        if isinstance(node, cst.Try):
            return bool(self.tries) and bool(calls(node.body, self.tries))
        if self.imports:
            return any(full_name(alias.name) == self.imports for alias in find(node, cst.ImportAlias))
        assigned = find(node, cst.AssignTarget, cst.AnnAssign)
        return any(full_name(each.target) == self.assigns for each in assigned)


@dataclass(frozen=True)
class InsertStatements:
    """Insert statements before or after the statement that calls a function: `f`, or `f(a, ...)` with its first arguments.

    Or insert them below a function or a class, or at the end, before a last `return`. By default, insert them below the
    docstring.
    """

    code: str
    before_call: str = ""
    after_call: str = ""
    below: str = ""
    at_end: bool = False

    def __call__(self, scope: Any) -> Any:
        new = statements(self.code)
        if holds(scope, new):
            return scope
        if self.below:
            named = m.FunctionDef(m.Name(self.below)) | m.ClassDef(m.Name(self.below))
            found = [node for node in scope.body if m.matches(node, named)]
            return put(scope, new, "after", one(found, f"one function or class '{self.below}'"))
        if self.at_end:
            if isinstance(scope, cst.Module):
                return scope.with_changes(body=[*scope.body, *new], footer=[])
            old = scope.body.body
            end = len(old) - m.matches(old[-1], m.SimpleStatementLine([m.Return()]))
            return scope.with_changes(body=scope.body.with_changes(body=[*old[:end], *new, *old[end:]], footer=[]))
        name = self.before_call or self.after_call
        if not name:
            kept, body = _parted(scope)
            return scope.with_changes(body=scope.body.with_changes(body=[*kept, *new, *body]))
        function, _, first = name.removesuffix(", ...)").partition("(")
        begin = cst.ensure_type(cst.parse_expression(f"f({first})"), cst.Call).args
        found = [call for call in calls(scope, function) if _begins(call, begin)]
        old = statement_around(scope, one(found, f"one call of '{name}'"))
        return put(scope, new, "after" if self.after_call else "before", old)


def _begins(call: cst.Call, first: Sequence[cst.Arg]) -> bool:
    given = call.args[: len(first)]
    return [meaning(arg.value) for arg in given] == [meaning(arg.value) for arg in first]


@dataclass(frozen=True)
class PassArgument:
    """Pass an argument, as in `name=value`, to the expected number of calls of a function, or change its value."""

    call: str
    argument: str
    count: int = 1

    def __call__(self, scope: Any) -> Any:
        found = calls(scope, self.call)
        one(found, f"{f'{self.count} calls' if self.count > 1 else 'one call'} of '{self.call}'", self.count)
        (new,) = cst.ensure_type(cst.parse_expression(f"f({self.argument})"), cst.Call).args
        return replace(scope, found, lambda _, call: self._pass(call, new.deep_clone()))

    def _pass(self, call: cst.Call, new: cst.Arg) -> cst.Call:
        for at, arg in enumerate(call.args):
            if arg.star == new.star == "**" and meaning(arg.value) == meaning(new.value):
                return call
            if arg.keyword and new.keyword and arg.keyword.value == new.keyword.value:
                return call.with_changes(args=[*call.args[:at], new, *call.args[at + 1 :]])
        at = next((at for at, arg in enumerate(call.args) if arg.star == "**"), len(call.args))
        return call.with_changes(args=[*call.args[:at], new, *call.args[at:]])


@dataclass(frozen=True)
class ReplaceExpression:
    """Replace the expected number of expressions by another one, in which `__old__` is the old one.

    `f(...)` is any call of f. With `guarding`, the expression is the test of an `if` whose body calls that function.
    """

    code: str
    with_: str
    guarding: str = ""
    count: int = 1

    def __call__(self, scope: Any) -> Any:
        is_call, hole = self.code.endswith("(...)"), m.Name("__old__")
        old, template = cst.parse_expression(self.code.removesuffix("(...)")), cst.parse_expression(self.with_)
        found = calls(scope, self.code.removesuffix("(...)")) if is_call else self._find(scope, old)
        new: list[Any] = [m.replace(template, hole, node.deep_clone()) for node in found]
        brought = new if "__old__" in self.with_ else []
        if any(self._find(scope, node) for node in (brought if found else [m.replace(template, hole, old)])):
            return scope
        one(found, f"{self.count} of '{self.code}'" if self.count > 1 else f"one '{self.code}'", self.count)
        # Leave out the parentheses if the meaning does not need them.
        plain = replace(scope, found, lambda _, node: m.replace(template, hole, node))
        template = template.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
        safe = replace(scope, found, lambda _, node: m.replace(template, hole, node))
        return plain if meaning(plain) == meaning(safe) else safe

    def _find(self, scope: Any, code: Any) -> list[Any]:
        if not self.guarding:
            return equal(scope, code)
        branches = [node for node in find(scope, cst.If) if calls(node.body, self.guarding)]
        return [branch.test for branch in branches if meaning(branch.test) == meaning(code)]


@dataclass(frozen=True)
class AddDecorator:
    """Decorate a function or a class, above or, innermost, below its other decorators."""

    code: str
    innermost: bool = False

    def __call__(self, scope: Any) -> Any:
        new = cst.Decorator(cst.parse_expression(self.code.removeprefix("@")))
        if any(meaning(each.decorator) == meaning(new.decorator) for each in scope.decorators):
            return scope
        return scope.with_changes(decorators=[*scope.decorators, new] if self.innermost else [new, *scope.decorators])


def _docstring(scope: Any) -> Any:
    text: Any = m.SaveMatchedNode(m.SimpleString(), "text")
    body = scope.body if isinstance(scope, cst.Module) else scope.body.body
    return (m.extract(body[0], m.SimpleStatementLine([m.Expr(text)])) or {}).get("text") if body else None


def _parted(scope: Any) -> tuple[Sequence[Any], Sequence[Any]]:
    """Return the docstring of a body, and the other statements."""
    if not isinstance(scope.body, cst.IndentedBlock):
        raise NoMatch("a body of lines", "none")
    first = _docstring(scope) is not None
    return scope.body.body[:first], scope.body.body[first:]


def _change_docstring(scope: Any, change: Callable[[list[str]], list[str]]) -> Any:
    """Change the lines of a docstring. The formatter indents them."""
    node = _docstring(scope)
    if node is None:
        raise NoMatch("a docstring", "none")
    old = inspect.cleandoc(node.raw_value).split("\n")
    new = change(old)
    if new == old:
        return scope
    text = "\n" * node.raw_value.startswith("\n") + "\n".join(new) + "\n" * (len(new) > 1)
    return scope.deep_replace(node, cst.SimpleString(node.prefix + node.quote + text + node.quote))


def _add_to_section(lines: Sequence[str], title: str, entry: Sequence[str]) -> list[str]:
    """Add an entry at the end of a section, before the entry of a `**` parameter."""
    new = [f"    {line}" if line else "" for line in entry]
    if any(lines[at : at + len(new)] == new for at in range(len(lines))):
        return list(lines)
    if title not in lines:
        return [*lines, "", title, *new]
    at = end = lines.index(title) + 1
    while at < len(lines) and lines[at][:1] in ("", " ") and not lines[at].startswith("    **"):
        at += 1
        end = at if lines[at - 1] else end
    return [*lines[:end], *([""] if title.startswith("Example") else []), *new, *lines[end:]]
