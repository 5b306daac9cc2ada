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

"""The vocabulary in which edits to upstream's files are written."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import libcst as cst

from patches.docstrings import Docstring
from patches.errors import AlreadyApplied, EditError, NoMatch, SeveralMatches
from patches.imports import add_import, import_of, imports
from patches.layout import brackets, insert_item, parameters, replace
from patches.source import (
    Block,
    Found,
    Scope,
    Source,
    Splice,
    Statement,
    block_of,
    blocks,
    docstring,
    indent_statements,
    lines_of,
    one,
    open_symbol,
    place_of,
    runs,
    same,
    search,
    tidy,
)
from patches.template import Template
from patches.upstream import VERSION


__all__ = [
    "AddDecorator",
    "AddImport",
    "AddParameter",
    "AlreadyApplied",
    "Edit",
    "EditError",
    "ExtendDocstring",
    "InsertStatements",
    "NoMatch",
    "Operation",
    "PassArgument",
    "ReplaceArgument",
    "ReplaceBody",
    "ReplaceCall",
    "ReplaceDefault",
    "ReplaceDocstring",
    "ReplaceImport",
    "ReplaceStatement",
    "ReplaceTest",
    "SeveralMatches",
    "Where",
]


class Operation:
    """A kind of edit."""

    def splices(self, source: Source, scope: Scope) -> Sequence[Splice]:
        """The changes of the text.

        Args:
            source: The file.
            scope: The symbol in it that the edit names.

        Raises:
            EditError: If the operation does not fit the symbol.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Where:
    """Where an edit is applied, for its error messages.

    Args:
        file: Upstream's file.
        edits: The file that holds the edit.
        given: Version of the upstream at hand.
    """

    file: str = "upstream's file"
    edits: str = "its file under patches/edits/"
    given: str = "unknown"


@dataclass(frozen=True)
class Edit:
    """One edit to one file of upstream.

    Args:
        name: A slug, unique in its file.
        symbol: The function or class in question, "" for the module.
        why: Why the edit is there.
        drop_when: When it can go.
        do: What it does.
    """

    name: str
    symbol: str
    why: str
    drop_when: str
    do: Operation

    def apply(self, text: str, where: Where = Where()) -> str:
        """Apply the edit to a file's text.

        Args:
            text: The text.
            where: What the text is.

        Returns:
            The text with the edit.

        Raises:
            NoMatch: If the place is gone.
            SeveralMatches: If the place is not unique.
            AlreadyApplied: If the text has what the edit would bring.
        """
        try:
            result = replace(text, self.do.splices(*open_symbol(text, self.symbol)))
            _check_syntax(result)
            return result
        except (SyntaxError, cst.ParserSyntaxError) as error:
            refusal = EditError("valid Python in the edit and in the file", f"'{str(error).splitlines()[0]}'")
            self.explain(refusal, where)
            raise refusal from None
        except EditError as error:
            self.explain(error, where)
            raise

    def explain(self, error: EditError, where: Where) -> None:
        """Make an error say which edit it comes from, and what to do about it.

        Args:
            error: The error.
            where: The text that the edit was applied to.
        """
        symbol = self.symbol or "the module"
        error.context = f"{where.file}: edit '{self.name}' of {symbol}: "
        error.advice = f" (upstream {where.given} given, {VERSION} pinned). "
        if isinstance(error, AlreadyApplied):
            error.advice += f"Upstream has it: remove the edit from patches/series.toml and {where.edits}."
        else:
            error.advice += (
                f"Look at {where.file} in the given upstream and mend {where.edits}; "
                "`python -m patches status --upstream PATH` shows every edit."
            )


def _check_syntax(text: str) -> None:
    try:
        compile(text, "<edited>", "exec", dont_inherit=True)
    except SyntaxError as error:
        raise EditError("valid Python after the edit", f"'{error.msg}' in line {error.lineno} of the result") from None


@dataclass(frozen=True)
class AddParameter(Operation):
    """Append a parameter to a function.

    Args:
        code: The parameter, as in `name: type = default`.
        doc: Its entry in the docstring's section `Args:`, which begins with `name: `. "" where upstream
            documents no parameters.
        keyword_only: Whether it goes after the `*`, which is added where there is none.
    """

    code: str
    doc: str
    keyword_only: bool = False

    def splices(self, source: Source, scope: Scope) -> Sequence[Splice]:
        """See Operation."""
        if not isinstance(scope, cst.FunctionDef):
            raise NoMatch("a function", "a class or the module")
        name = self.code.partition(":")[0].partition("=")[0].strip()
        for parameter in parameters(scope.params):
            if isinstance(parameter, cst.Param) and parameter.name.value == name:
                raise AlreadyApplied(f"no parameter '{name}' yet", f"it in {source.lines([parameter])}")
        change = self._signature(source, scope)
        if not self.doc:
            return [change]
        text = Docstring(source, scope)
        kwargs = scope.params.star_kwarg
        text.add_argument(self.doc, kwargs.name.value if kwargs else None)
        return [change, text.splice()]

    def _signature(self, source: Source, scope: cst.FunctionDef) -> Splice:
        params = scope.params
        pair = brackets(source, scope)
        starred = isinstance(params.star_arg, cst.Param | cst.ParamStar)
        if self.keyword_only:
            codes = [self.code] if starred else ["*", self.code]
            return insert_item(source, pair, len(pair.items) - bool(params.star_kwarg), *codes)
        after = starred + len(params.kwonly_params) + bool(params.star_kwarg)
        return insert_item(source, pair, len(pair.items) - after, self.code)


@dataclass(frozen=True)
class ExtendDocstring(Operation):
    """Append lines to a section of the symbol's docstring.

    Args:
        section: The section's title, with its colon. It begins at the docstring's end where there is none.
        code: The lines.
    """

    section: str
    code: str

    def splices(self, source: Source, scope: Scope) -> Sequence[Splice]:
        """See Operation."""
        text = Docstring(source, scope)
        text.extend(self.section, self.code)
        return [text.splice()]


@dataclass(frozen=True)
class ReplaceDocstring(Operation):
    """Replace the text of the symbol's docstring.

    Args:
        code: The new text.
    """

    code: str

    def splices(self, source: Source, scope: Scope) -> Sequence[Splice]:
        """See Operation."""
        text = Docstring(source, scope)
        text.rewrite(self.code)
        return [text.splice()]


@dataclass(frozen=True)
class _Calls:
    """The calls of a function in a symbol's body.

    Args:
        name: The function, as it is written in the call.
        having: A keyword that the call must have.
        lacking: A keyword that the call must not have.
    """

    name: str
    having: str | None = None
    lacking: str | None = None

    def __str__(self) -> str:
        having = f" with '{self.having}='" if self.having else ""
        lacking = f" without '{self.lacking}='" if self.lacking else ""
        return f"'{self.name}'{having}{lacking}"

    def everywhere(self, source: Source, scope: Scope) -> list[Found]:
        """All calls of the function."""
        last = self.name.rpartition(".")[2]
        return [
            found
            for found in search(scope)
            if isinstance(found.node, cst.Call)
            and _last_name(found.node.func) == last
            and same(source.code(found.node.func), self.name)
        ]

    def find(self, source: Source, scope: Scope) -> list[Found]:
        """The calls with the right keywords."""
        return [found for found in self.everywhere(source, scope) if self._chosen(found.node)]

    def _chosen(self, call: cst.CSTNode) -> bool:
        return (not self.having or _keyword(call, self.having) is not None) and (
            not self.lacking or _keyword(call, self.lacking) is None
        )

    def one(self, source: Source, scope: Scope) -> Found:
        """The only such call."""
        found = self.find(source, scope)
        otherwise = "" if found else self.otherwise(source, scope)
        one(source, [each.node for each in found], f"one call of {self}", otherwise)
        return found[0]

    def otherwise(self, source: Source, scope: Scope) -> str:
        """What to say that was found where there is no such call."""
        others = [found.node for found in self.everywhere(source, scope)]
        return f"calls of '{self.name}' in {source.lines(others)}, none like that" if others else "none"


def _last_name(node: cst.BaseExpression) -> str | None:
    node = node.attr if isinstance(node, cst.Attribute) else node
    return node.value if isinstance(node, cst.Name) else None


def _keyword(call: cst.CSTNode, name: str) -> cst.Arg | None:
    assert isinstance(call, cst.Call)
    return next((arg for arg in call.args if arg.keyword and arg.keyword.value == name), None)


@dataclass(frozen=True)
class PassArgument(Operation):
    """Give a call a keyword argument, or another value for it.

    Args:
        call: The function called, as it is written in the call.
        argument: The argument, as in `name=value`.
        having: A keyword that the call must have.
        lacking: A keyword that the call must not have.
    """

    call: str
    argument: str
    having: str | None = None
    lacking: str | None = None

    def splices(self, source: Source, scope: Scope) -> Sequence[Splice]:
        """See Operation."""
        calls = _Calls(self.call, self.having, self.lacking)
        name, _, value = self.argument.partition("=")
        passing = [
            found.node
            for found in calls.everywhere(source, scope)
            if (arg := _keyword(found.node, name)) and same(source.code(arg.value), value)
        ]
        chosen = calls.find(source, scope)
        if passing and all(any(found.node is call for call in passing) for found in chosen):
            raise AlreadyApplied(
                f"a call of {calls} without '{self.argument}'", f"the argument in {source.lines(passing)}"
            )
        call = calls.one(source, scope).node
        old = _keyword(call, name)
        if old:
            return [Splice(*source.outer(old.value), value, fold=True)]
        assert isinstance(call, cst.Call)
        unpacked = [index for index, arg in enumerate(call.args) if arg.star == "**"]
        return [
            insert_item(source, brackets(source, call), unpacked[0] if unpacked else len(call.args), self.argument)
        ]


@dataclass(frozen=True)
class ReplaceCall(Operation):
    """Replace calls by an expression.

    Args:
        call: The function called, as it is written in the call.
        with_: The expression, in which `__call__` stands for the call. Where it takes several lines, it is
            written as for a statement at the left margin.
        having: A keyword that the call must have.
        lacking: A keyword that the call must not have.
        count: How many such calls there are.
    """

    call: str
    with_: str
    having: str | None = None
    lacking: str | None = None
    count: int = 1

    def splices(self, source: Source, scope: Scope) -> Sequence[Splice]:
        """See Operation."""
        calls = _Calls(self.call, self.having, self.lacking)
        template = Template(self.with_, "__call__")
        found = calls.find(source, scope)
        left = [each for each in found if not any(template.holds(source, node, each.node) for node in each.chain)]
        if not left:
            self._check_absent(source, scope, template)
        if len(left) != self.count:
            self._refuse(source, scope, calls, left)
        return [
            Splice(source.start(each.node), source.end(each.node), self._code(source, each, template), fold=True)
            for each in left
        ]

    def _code(self, source: Source, found: Found, template: Template) -> str:
        assert isinstance(found.node, cst.Call)
        around = cst.Expr(found.node) if found.node.lpar else found.parents[-1]
        return template.fill(source, found.node, around)

    def _check_absent(self, source: Source, scope: Scope, template: Template) -> None:
        present = [found.node for found in search(scope) if template.holds(source, found.node)]
        if present:
            raise AlreadyApplied(f"no '{self.with_}' yet", f"it in {source.lines(present)}")

    def _refuse(self, source: Source, scope: Scope, calls: _Calls, left: list[Found]) -> None:
        expected = f"{'one call' if self.count == 1 else f'{self.count} calls'} of {calls}"
        if not left:
            raise NoMatch(expected, calls.otherwise(source, scope))
        lines = source.lines([found.node for found in left])
        if len(left) > self.count:
            raise SeveralMatches(expected, len(left), lines)
        raise NoMatch(expected, f"{len(left)} in {lines}")


@dataclass(frozen=True)
class ReplaceArgument(Operation):
    """Replace a positional argument of a call.

    Args:
        call: The function called, as it is written in the call.
        index: The argument's number, from 0.
        with_: The new value, in which `__argument__` stands for the old one.
        having: A keyword that the call must have.
        lacking: A keyword that the call must not have.
    """

    call: str
    index: int
    with_: str
    having: str | None = None
    lacking: str | None = None

    def splices(self, source: Source, scope: Scope) -> Sequence[Splice]:
        """See Operation."""
        calls = _Calls(self.call, self.having, self.lacking)
        call = calls.one(source, scope).node
        assert isinstance(call, cst.Call)
        positional = [arg for arg in call.args if not arg.keyword and arg.star != "**"]
        if self.index >= len(positional):
            raise NoMatch(
                f"a positional argument {self.index} of '{self.call}'",
                f"{len(positional)} of them in {source.lines([call])}",
            )
        argument = positional[self.index]
        template = Template(self.with_, "__argument__")
        if template.holds(source, argument.value):
            raise AlreadyApplied(
                f"another argument {self.index} of '{self.call}'", f"'{self.with_}' in {source.lines([call])}"
            )
        code = template.fill(source, argument.value, argument)
        return [Splice(*source.outer(argument.value), code, fold=True)]


@dataclass(frozen=True)
class InsertStatements(Operation):
    """Insert statements.

    Args:
        code: The statements.
        at: "start", which is after the docstring, or "end" of the symbol's body.
        before_call: Or before the innermost statement that contains the call of this function.
        after_call: Or after that statement.
    """

    code: str
    at: Literal["start", "end"] | None = None
    before_call: str | None = None
    after_call: str | None = None

    def __post_init__(self) -> None:
        if sum(place is not None for place in (self.at, self.before_call, self.after_call)) != 1:
            raise ValueError("InsertStatements takes one of at, before_call and after_call")
        if not lines_of(cst.parse_module(tidy(self.code))):
            raise ValueError("InsertStatements takes statements, not comments alone")

    def splices(self, source: Source, scope: Scope) -> Sequence[Splice]:
        """See Operation."""
        code = tidy(self.code)
        present = runs(source, scope, code)
        if self.at:
            around = [block_of(scope)]
        else:
            around = [place_of(found)[0] for found in self._calls.find(source, scope)]
        there = [run for run in present if not around or any(run[0] is block for block in around)]
        if there:
            block, indices = there[0]
            raise AlreadyApplied("no such statements yet", f"them in {source.lines([block.body[indices.start]])}")
        block, index = self._place(source, scope)
        return [_insertion(source, code, block, index, after=self.before_call is None)]

    @property
    def _calls(self) -> _Calls:
        return _Calls(self.before_call or self.after_call or "")

    def _place(self, source: Source, scope: Scope) -> tuple[Block, int]:
        """The block, and the index in it, where the statements go."""
        if self.at == "start":
            return block_of(scope), int(docstring(scope) is not None)
        if self.at == "end":
            return block_of(scope), len(block_of(scope).body)
        block, index = place_of(self._calls.one(source, scope))
        return block, index + (self.after_call is not None)


def _insertion(source: Source, code: str, block: Block, index: int, after: bool) -> Splice:
    """The change that puts statements at an index of a block, close to the statement after or before which they go."""
    body: list[Statement | None] = [None, *lines_of(block), None]
    previous, following = body[index : index + 2]
    if previous is not None and (after or following is None):
        offset = source.below(previous)
    else:
        offset = source.above(following) if following is not None else len(source.text)
    neighbour = previous or following
    indent = source.indent(source.start(neighbour)) if neighbour is not None else ""
    new = lines_of(cst.parse_module(code))
    top = isinstance(block, cst.Module)
    above = _blank_lines(previous, new[0], top) - _count_blank(source.text[:offset].split("\n")[-2::-1])
    below = _blank_lines(new[-1], following, top) - _count_blank(source.text[offset:].split("\n"))
    start = "" if source.text[:offset].endswith("\n") or not offset else "\n"
    return Splice(offset, offset, start + "\n" * above + indent_statements(code, indent) + "\n" + "\n" * below)


def _blank_lines(previous: Statement | None, following: Statement | None, top: bool) -> int:
    """How many blank lines `ruff format` and isort want between two statements at least."""
    if previous is None or following is None:
        return 0
    if any(isinstance(node, cst.FunctionDef | cst.ClassDef) for node in (previous, following)):
        return 2 if top else 1
    return 2 if top and import_of(previous) and not import_of(following) else 0


def _count_blank(lines: Sequence[str]) -> int:
    return next((count for count, line in enumerate(lines) if line.strip()), 0)


@dataclass(frozen=True)
class ReplaceStatement(Operation):
    """Replace a statement, and keep the comment above it.

    Args:
        code: The new statements; "" removes the statement, and the comments right above and below it.
        assigns: The name or attribute to which the statement assigns.
        calls: The function that the statement, a simple one, calls; with `assigns`, both must hold.
        tests: The test of the `if` statement, which is replaced with its `elif` and `else`.
        first: Whether the first of several such statements is meant.
    """

    code: str
    assigns: str | None = None
    calls: str | None = None
    tests: str | None = None
    first: bool = False

    def __post_init__(self) -> None:
        if bool(self.tests) == bool(self.assigns or self.calls):
            raise ValueError("ReplaceStatement takes assigns and calls, or tests")

    def splices(self, source: Source, scope: Scope) -> Sequence[Splice]:
        """See Operation."""
        code = tidy(self.code)
        found = self._find(source, scope)
        present = [
            statement
            for block, indices in (runs(source, scope, code) if code else [])
            if not found or any(_within(source, found[0], block.body[index]) for index in indices)
            for statement in block.body[indices.start : indices.start + 1]
        ]
        if present or not (code or found):
            there = f"the new one in {source.lines(present)}" if present else "none"
            raise AlreadyApplied(f"{self._expected} to replace", there)
        return [_replacement(source, one(source, found, self._expected), code)]

    @property
    def _expected(self) -> str:
        if self.tests:
            return f"one statement 'if {self.tests}'"
        parts = [
            f"an assignment to '{self.assigns}'" if self.assigns else "",
            f"a call of '{self.calls}'" if self.calls else "",
        ]
        return f"{'a first' if self.first else 'one'} statement with {' and '.join(filter(None, parts))}"

    def _find(self, source: Source, scope: Scope) -> list[Statement]:
        """The fitting statements, or the first of them if that is meant."""
        calls = [found.node for found in _Calls(self.calls).everywhere(source, scope)] if self.calls else []
        found = [
            statement
            for block in blocks(scope)
            for statement in lines_of(block)
            if self._fits(source, statement, calls)
        ]
        found.sort(key=source.start)
        return found[:1] if self.first else found

    def _fits(self, source: Source, statement: Statement, calls: Sequence[cst.CSTNode]) -> bool:
        if self.tests:
            return isinstance(statement, cst.If) and same(source.code(statement.test), self.tests)
        if not isinstance(statement, cst.SimpleStatementLine):
            return False
        if self.assigns and not any(same(source.code(node), self.assigns) for node in _targets(statement)):
            return False
        return not self.calls or any(_within(source, call, statement) for call in calls)


def _targets(statement: cst.SimpleStatementLine) -> list[cst.BaseExpression]:
    targets: list[cst.BaseExpression] = []
    for node in statement.body:
        if isinstance(node, cst.Assign):
            targets += [target.target for target in node.targets]
        elif isinstance(node, cst.AnnAssign):
            targets.append(node.target)
    return targets


def _within(source: Source, inner: cst.CSTNode, outer: cst.CSTNode) -> bool:
    return source.start(outer) <= source.start(inner) and source.end(inner) <= source.end(outer)


def _replacement(source: Source, statement: Statement, code: str) -> Splice:
    """The change that puts other statements in the place of one, or none."""
    end = source.below(statement)
    if code:
        start = source.line_start(source.start(statement))
        return Splice(start, end, indent_statements(code, source.indent(source.start(statement))) + "\n")
    start = source.above(statement)
    comment = source.indent(source.start(statement)) + "#"
    while source.text.startswith(comment, end):
        end = source.text.index("\n", end) + 1
    if source.text[:start].endswith("\n\n"):
        end += _count_blank(source.text[end:].split("\n"))
    return Splice(start, end, "")


@dataclass(frozen=True)
class ReplaceTest(Operation):
    """Replace the test of an `if`, an `elif` or a conditional expression.

    Args:
        test: The test.
        with_: The new test.
        containing: A function that is called in the branch which the test guards, to choose between several.
    """

    test: str
    with_: str
    containing: str | None = None

    def splices(self, source: Source, scope: Scope) -> Sequence[Splice]:
        """See Operation."""
        branches = self._branches(source, scope)
        old = [node for node in branches if same(source.code(node.test), self.test)]
        new = [node for node in branches if same(source.code(node.test), self.with_)]
        if new and not old:
            raise AlreadyApplied(f"a test '{self.test}'", f"'{self.with_}' in {source.lines(new)}")
        guarding = f" guarding a call of '{self.containing}'" if self.containing else ""
        node = one(source, old, f"one test '{self.test}'{guarding}")
        return [Splice(*source.outer(node.test), Template(self.with_).fill(source, node.test, node), fold=True)]

    def _branches(self, source: Source, scope: Scope) -> list[cst.If | cst.IfExp]:
        branches = [found.node for found in search(scope) if isinstance(found.node, cst.If | cst.IfExp)]
        if not self.containing:
            return branches
        calls = [found.node for found in _Calls(self.containing).everywhere(source, scope)]
        return [node for node in branches if any(_within(source, call, node.body) for call in calls)]


@dataclass(frozen=True)
class ReplaceBody(Operation):
    """Replace a function's body, and keep its docstring.

    Args:
        code: The new statements.
    """

    code: str

    def splices(self, source: Source, scope: Scope) -> Sequence[Splice]:
        """See Operation."""
        code = tidy(self.code)
        if not isinstance(scope, cst.FunctionDef):
            raise NoMatch("a function", "a class or the module")
        documented = docstring(scope) is not None
        body = lines_of(block_of(scope))[documented:]
        if not body:
            raise NoMatch("a body to replace", "a docstring alone")
        if any(
            block is block_of(scope) and indices == range(documented, documented + len(body))
            for block, indices in runs(source, scope, code)
        ):
            raise AlreadyApplied("another body", f"this one in {source.lines(body[:1])}")
        text = indent_statements(code, source.indent(source.start(body[0]))) + "\n"
        return [Splice(source.above(body[0]), source.below(scope), text)]


@dataclass(frozen=True)
class AddDecorator(Operation):
    """Decorate a function or a class.

    Args:
        code: The decorator, with its `@`.
        innermost: Whether it goes below the other decorators, not above them.
    """

    code: str
    innermost: bool = False

    def splices(self, source: Source, scope: Scope) -> Sequence[Splice]:
        """See Operation."""
        if isinstance(scope, cst.Module):
            raise NoMatch("a function or a class", "the module")
        wanted = self.code.removeprefix("@")
        present = [each for each in scope.decorators if same(source.code(each.decorator), wanted)]
        if present:
            raise AlreadyApplied(f"no decorator '{self.code}' yet", f"it in {source.lines(present)}")
        above = scope.decorators and not self.innermost
        offset = source.start(scope) if above else source.keyword(scope)
        return [Splice(offset, offset, f"{self.code}\n{source.indent(offset)}")]


@dataclass(frozen=True)
class ReplaceDefault(Operation):
    """Replace the default of a class's field.

    Args:
        field: The field, which has an annotation.
        with_: The new default.
    """

    field: str
    with_: str

    def splices(self, source: Source, scope: Scope) -> Sequence[Splice]:
        """See Operation."""
        if not isinstance(scope, cst.ClassDef):
            raise NoMatch("a class", "a function or the module")
        expected = f"one field '{self.field}: ... = ...'"
        fields = [
            node
            for line in lines_of(block_of(scope))
            if isinstance(line, cst.SimpleStatementLine)
            for node in line.body
            if isinstance(node, cst.AnnAssign) and same(source.code(node.target), self.field)
        ]
        node = one(source, fields, expected)
        if node.value is None:
            raise NoMatch(expected, f"it without a default in {source.lines([node])}")
        if same(source.code(node.value), self.with_):
            raise AlreadyApplied(f"another default of '{self.field}'", f"'{self.with_}' in {source.lines([node])}")
        code = Template(self.with_).fill(source, node.value, node)
        return [Splice(*source.outer(node.value), code, fold=True)]


@dataclass(frozen=True)
class AddImport(Operation):
    """Add an import to the module, where isort puts it.

    Args:
        code: The import.
    """

    code: str

    def splices(self, source: Source, scope: Scope) -> Sequence[Splice]:
        """See Operation."""
        return [add_import(source, self.code)]


@dataclass(frozen=True)
class ReplaceImport(Operation):
    """Replace a module's import at the top level.

    Args:
        module: The module that is imported, or imported from.
        code: What replaces it: imports, which stay in its place, or other statements, which go after the imports;
            "" removes it.
    """

    module: str
    code: str

    def splices(self, source: Source, scope: Scope) -> Sequence[Splice]:
        """See Operation."""
        code = tidy(self.code)
        old = [line for line, each in imports(source) if each.module == self.module]
        present = [block.body[part.start] for block, part in runs(source, source.module, code)] if code else []
        if not (code or old):
            raise AlreadyApplied(f"an import of '{self.module}' to remove", "none")
        if present and all(any(line is node for node in present) for line in old):
            raise AlreadyApplied(f"another import in place of '{self.module}'", f"it in {source.lines(present)}")
        line = one(source, old, f"one import of '{self.module}' at the top level")
        if not code or all(import_of(node) for node in cst.parse_module(code).body):
            return [_replacement(source, line, code)]
        block = _imports_around(source, line)
        if line is not block[-1]:
            end = source.below(block[-1])
            return [_replacement(source, line, ""), Splice(end, end, f"\n\n{code}\n")]
        if line is block[0]:
            return [_replacement(source, line, code)]
        return [Splice(source.below(block[-2]), source.below(line), f"\n\n{code}\n")]


def _imports_around(source: Source, line: cst.SimpleStatementLine) -> list[Statement]:
    """The block of imports to which a line belongs."""
    body = lines_of(source.module)
    first = last = body.index(line)
    while first and import_of(body[first - 1]):
        first -= 1
    while last + 1 < len(body) and import_of(body[last + 1]):
        last += 1
    return body[first : last + 1]
