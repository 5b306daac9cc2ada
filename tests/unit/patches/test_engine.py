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

"""Each operation on small snippets: what it does, and what it refuses."""

import subprocess
import sys
from textwrap import dedent

import pytest

from patches.engine import (
    AddDecorator,
    AddImport,
    AddParameter,
    AlreadyApplied,
    Edit,
    EditError,
    ExtendDocstring,
    InsertStatements,
    NoMatch,
    Operation,
    PassArgument,
    ReplaceArgument,
    ReplaceBody,
    ReplaceCall,
    ReplaceDefault,
    ReplaceDocstring,
    ReplaceImport,
    ReplaceStatement,
    ReplaceTest,
    SeveralMatches,
    Where,
)
from patches.source import open_symbol


def edit(do: Operation, symbol: str = "") -> Edit:
    return Edit("tiny", symbol, "Because.", "Never.", do)


def changed(do: Operation, before: str, symbol: str = "") -> str:
    return edit(do, symbol).apply(dedent(before))


def check(do: Operation, before: str, after: str, symbol: str = "") -> None:
    """The operation turns one snippet into the other, once, and leaves it as ruff would format it."""
    result = changed(do, before, symbol)
    assert result == dedent(after)
    with pytest.raises(AlreadyApplied):
        edit(do, symbol).apply(result)
    assert formatted(result) == result


def formatted(code: str) -> str:
    command = [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length", "119", "-"]
    return subprocess.run(command, input=code, capture_output=True, text=True, check=True).stdout


def refused(kind: type[EditError], do: Operation, before: str, symbol: str = "") -> str:
    with pytest.raises(kind) as caught:
        changed(do, before, symbol)
    assert type(caught.value) is kind
    return f"expected {caught.value.expected}, found {caught.value.found}"


# Symbols


NESTED = """\
class Outer:
    def method(self):
        if self:

            def inner():
                return 1

        return 2


try:
    import fast
except ImportError:

    def slow():
        return 3


if True:

    def twice():
        return 4
else:

    def twice():
        return 5
"""


@pytest.mark.parametrize("symbol", ["Outer", "Outer.method", "Outer.method.inner", "slow"])
def test_a_symbol_is_found_in_classes_functions_and_branches(symbol):
    assert open_symbol(NESTED, symbol)[1].name.value == symbol.rpartition(".")[2]


def test_a_nested_function_is_edited_where_it_stands():
    do = ReplaceStatement("return 10", assigns="x")
    assert changed(do, "class A:\n    def f(self):\n        def g():\n            x = 1\n", "A.f.g").endswith(
        "\n        def g():\n            return 10\n"
    )


@pytest.mark.parametrize("symbol", ["method", "Outer.inner", "missing", "Outer.method.missing"])
def test_a_missing_symbol_is_refused(symbol):
    assert refused(NoMatch, ReplaceBody("pass"), NESTED, symbol) == (
        f"expected one function or class '{symbol if '.method.' in symbol or '.' not in symbol else 'Outer.inner'}', "
        "found none"
    )


def test_a_symbol_defined_twice_is_refused():
    assert refused(SeveralMatches, ReplaceBody("pass"), NESTED, "twice") == (
        "expected one function or class 'twice', found 2 in lines 21, 25"
    )


def test_the_modules_body_ends_where_a_function_begins():
    check(
        ReplaceStatement("x = 2", assigns="x"), "x = 1\n\n\ndef f():\n    x = 1\n", "x = 2\n\n\ndef f():\n    x = 1\n"
    )


# AddParameter


def test_a_parameter_is_appended_in_a_line():
    check(
        AddParameter("b: int = 1", "b: The b."),
        '''\
        def f(a):
            """Do.

            Args:
                a: The a.

            Returns:
                Nothing.
            """
        ''',
        '''\
        def f(a, b: int = 1):
            """Do.

            Args:
                a: The a.
                b: The b.

            Returns:
                Nothing.
            """
        ''',
        "f",
    )


def test_a_parameter_gets_a_line_where_the_others_have_one():
    check(
        AddParameter("c: bool = False", "c: The c,\nwhich goes on.\n\nAnd on."),
        '''\
        class A:
            def f(
                self,
                a: int | str,
                b: str = "(",  # why
                **kwargs,
            ) -> None:
                """Do.

                Args:
                    a: The a,
                        which goes on.
                    b: The b.
                    **kwargs: More.
                """
        ''',
        '''\
        class A:
            def f(
                self,
                a: int | str,
                b: str = "(",  # why
                c: bool = False,
                **kwargs,
            ) -> None:
                """Do.

                Args:
                    a: The a,
                        which goes on.
                    b: The b.
                    c: The c,
                        which goes on.

                        And on.
                    **kwargs: More.
                """
        ''',
        "A.f",
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def f(): ...", "def f(c=0): ..."),
        ("def f(*args): ...", "def f(c=0, *args): ..."),
        ("def f(a, *, b): ...", "def f(a, c=0, *, b): ..."),
        ("def f(a, /, b, *args, **kwargs): ...", "def f(a, /, b, c=0, *args, **kwargs): ..."),
        ("async def f(a=(1)) -> None: ...", "async def f(a=(1), c=0) -> None: ..."),
    ],
)
def test_a_positional_parameter_goes_before_the_star(before, after):
    assert changed(AddParameter("c=0", ""), before + "\n", "f") == after + "\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def f(): ...", "def f(*, c=0): ..."),
        ("def f(a): ...", "def f(a, *, c=0): ..."),
        ("def f(a, *, b): ...", "def f(a, *, b, c=0): ..."),
        ("def f(*args, **kwargs): ...", "def f(*args, c=0, **kwargs): ..."),
        ("def f(\n    a,\n    **kw,\n): ...", "def f(\n    a,\n    *,\n    c=0,\n    **kw,\n): ..."),
        ("def f(\n    a,\n    *args\n): ...", "def f(\n    a,\n    *args,\n    c=0,\n): ..."),
    ],
)
def test_a_keyword_only_parameter_goes_after_the_star(before, after):
    assert changed(AddParameter("c=0", "", keyword_only=True), before + "\n", "f") == after + "\n"


@pytest.mark.parametrize(
    ("length", "after"),
    [
        (94, "def f({}, c: bool = False):\n"),
        (95, "def f(\n    {}, c: bool = False\n):\n"),
        (98, "def f(\n    {}, c: bool = False\n):\n"),
        (99, "def f(\n    {},\n    c: bool = False,\n):\n"),
    ],
)
def test_parameters_that_become_too_long_for_a_line_are_broken(length, after):
    name = "a" * length
    check(AddParameter("c: bool = False", ""), f"def f({name}):\n    pass\n", after.format(name) + "    pass\n", "f")


def test_an_existing_parameter_is_already_applied():
    assert refused(AlreadyApplied, AddParameter("b: int = 1", ""), "def f(a, *, b=2): ...\n", "f") == (
        "expected no parameter 'b' yet, found it in line 1"
    )


@pytest.mark.parametrize("docstring", ["", '"""Do."""', '"""Do.\n\n    Returns:\n        It.\n    """'])
def test_a_parameter_needs_a_section_to_be_documented_in(docstring):
    assert "found none" in refused(NoMatch, AddParameter("b=1", "b: B."), f"def f(a):\n    {docstring}\n    a\n", "f")


def test_a_class_takes_no_parameter():
    refused(NoMatch, AddParameter("b=1", ""), "class A:\n    a = 1\n", "A")


# Docstrings


DOCUMENTED = '''\
def f():
    """Do.

    Example:
        >>> f()

    Note:
        Fast.
    """
'''


def test_an_example_is_appended_after_a_blank_line():
    check(
        ExtendDocstring("Example:", ">>> g(\n...     1\n... )"),
        DOCUMENTED,
        DOCUMENTED.replace(">>> f()\n", ">>> f()\n\n        >>> g(\n        ...     1\n        ... )\n"),
        "f",
    )


def test_a_section_is_extended():
    check(
        ExtendDocstring("Note:", "And\n    small."),
        DOCUMENTED,
        DOCUMENTED.replace("Fast.\n", "Fast.\n        And\n            small.\n"),
        "f",
    )


def test_a_missing_section_begins_at_the_end():
    check(
        ExtendDocstring("Raises:", "ValueError: Always."),
        DOCUMENTED,
        DOCUMENTED.replace("Fast.\n", "Fast.\n\n    Raises:\n        ValueError: Always.\n"),
        "f",
    )
    check(
        ExtendDocstring("Raises:", "ValueError: Always."),
        'def f():\n    """Do."""\n',
        'def f():\n    """Do.\n\n    Raises:\n        ValueError: Always.\n    """\n',
        "f",
    )


def test_only_a_docstring_is_extended():
    assert refused(NoMatch, ExtendDocstring("Note:", "Small."), "def f():\n    return ''\n", "f") == (
        "expected a docstring, found none"
    )


def test_a_docstring_is_replaced():
    check(
        ReplaceDocstring("Do more.\n\nSlowly."),
        'class A:\n    def f(self):\n        r"""Do."""\n        return 1\n',
        'class A:\n    def f(self):\n        r"""Do more.\n\n        Slowly.\n        """\n        return 1\n',
        "A.f",
    )
    check(ReplaceDocstring("Short."), '"""Long.\n\nVery.\n"""\n', '"""Short."""\n')


# PassArgument


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a.g()", "a.g(r=r)"),
        ("a.g(1, *x)", "a.g(1, *x, r=r)"),
        ("a.g(1, **x)", "a.g(1, r=r, **x)"),
        ("a.g(1, r=(False))", "a.g(1, r=r)"),
        ("a.g((1))", "a.g((1), r=r)"),
        ("g(a.g(1))", "g(a.g(1, r=r))"),
        ("a.g(\n    1,\n)", "a.g(\n    1,\n    r=r,\n)"),
        ("a.g(\n    1,  # one\n    # two\n)", "a.g(\n    1,  # one\n    r=r,\n    # two\n)"),
        ("a.g(\n    1, 2\n)", "a.g(\n    1, 2, r=r\n)"),
        (
            "x = [\n    a.g(\n        1,\n        2\n    )\n]",
            "x = [\n    a.g(\n        1,\n        2,\n        r=r,\n    )\n]",
        ),
    ],
)
def test_a_keyword_argument_is_passed(before, after):
    assert changed(PassArgument("a.g", "r=r"), before + "\n") == after + "\n"


@pytest.mark.parametrize(
    ("length", "after"),
    [
        (100, "    x = g(1, {}, r=r)\n"),
        (101, "    x = g(\n        1, {}, r=r\n    )\n"),
        (104, "    x = g(\n        1,\n        {},\n        r=r,\n    )\n"),
    ],
)
def test_a_call_that_becomes_too_long_for_a_line_is_broken(length, after):
    name = "a" * length
    check(PassArgument("g", "r=r"), f"def f():\n    x = g(1, {name})\n", "def f():\n" + after.format(name), "f")


def test_the_outermost_call_is_broken_first():
    long = "a" * 80
    check(
        PassArgument("g", "release=release"),
        f"x = outer(g({long}), 1)\n",
        f"x = outer(g({long}, release=release), 1)\n",
    )
    long = "a" * 90
    check(
        PassArgument("g", "release=release"),
        f"x = outer(g({long}), 1)\n",
        f"x = outer(\n    g({long}, release=release), 1\n)\n",
    )
    long = "a" * 108
    check(
        PassArgument("g", "r=r"),
        f"x = g(h({long}))\n",
        f"x = g(\n    h({long}),\n    r=r,\n)\n",
    )


def test_a_call_is_chosen_by_its_keywords():
    before = "g(1, x=1)\ng(2)\n"
    check(PassArgument("g", "r=r", having="x"), before, "g(1, x=1, r=r)\ng(2)\n")
    check(PassArgument("g", "r=r", lacking="x"), before, "g(1, x=1)\ng(2, r=r)\n")
    check(PassArgument("g", "r=r", lacking="r"), "g(1, r=s)\ng(2)\n", "g(1, r=s)\ng(2, r=r)\n")


def test_a_missing_call_is_refused():
    assert refused(NoMatch, PassArgument("a.g", "r=r"), "g(1)\nb.a.g(1)\na.g\n") == (
        "expected one call of 'a.g', found none"
    )
    assert refused(NoMatch, PassArgument("g", "r=r", having="x"), "g(1)\n") == (
        "expected one call of 'g' with 'x=', found calls of 'g' in line 1, none like that"
    )


def test_two_calls_are_refused():
    assert refused(SeveralMatches, PassArgument("g", "r=r"), "g(1)\n\ng(2)\n") == (
        "expected one call of 'g', found 2 in lines 1, 3"
    )
    assert refused(SeveralMatches, PassArgument("g", "r=r", lacking="x"), "g(1, r=r)\ng(2)\n") == (
        "expected one call of 'g' without 'x=', found 2 in lines 1, 2"
    )


# ReplaceCall and ReplaceArgument


@pytest.mark.parametrize(
    ("before", "with_", "after"),
    [
        ("x = g(1)", "h(2)", "x = h(2)"),
        ("x = g(1)", "h(__call__)", "x = h(g(1))"),
        ("x = g(1)", "__call__ if y else None", "x = g(1) if y else None"),
        ("x = [g(1), 2]", "__call__ if y else None", "x = [g(1) if y else None, 2]"),
        ("x = g(1) + 1", "__call__ if y else None", "x = (g(1) if y else None) + 1"),
        ("x = g(1).a", "__call__ or y", "x = (g(1) or y).a"),
        ("x = (g(1)).a", "__call__ or y", "x = (g(1) or y).a"),
        ("h(*g(1))", "__call__ or y", "h(*(g(1) or y))"),
        ("x = g(1)", "a, __call__", "x = (a, g(1))"),
        ("x = not g(1)", "(a or b)", "x = not (a or b)"),
        ("x = g(\n    1,\n)", "h(\n    __call__,\n    2,\n)", "x = h(\n    g(\n        1,\n    ),\n    2,\n)"),
    ],
)
def test_a_call_is_replaced(before, with_, after):
    check(ReplaceCall("g", with_), before + "\n", after + "\n")


def test_a_call_of_several_lines_moves_without_its_strings():
    check(
        ReplaceCall("g", "h(\n    __call__,\n    2,\n)"),
        'def f():\n    g(\n        """a\n    b""",\n    )\n',
        'def f():\n    h(\n        g(\n            """a\n    b""",\n        ),\n        2,\n    )\n',
        "f",
    )


def test_as_many_calls_are_replaced_as_are_expected():
    check(ReplaceCall("g", "h(__call__)", count=2), "g(1)\ng(2)\n", "h(g(1))\nh(g(2))\n")
    do = ReplaceCall("g", "h()", count=2)
    assert refused(NoMatch, do, "g(1)\n") == "expected 2 calls of 'g', found 1 in line 1"
    assert refused(SeveralMatches, do, "g(1)\ng(2)\ng(3)\n") == "expected 2 calls of 'g', found 3 in lines 1, 2, 3"
    assert refused(NoMatch, do, "f(1)\n") == "expected 2 calls of 'g', found none"


def test_a_replaced_call_is_already_applied():
    assert refused(AlreadyApplied, ReplaceCall("g", "h(__call__)"), "h(g(1))\n") == (
        "expected no 'h(__call__)' yet, found it in line 1"
    )
    refused(AlreadyApplied, ReplaceCall("g", "g(2)"), "x = (g(\n    2\n))\n")


@pytest.mark.parametrize(
    ("before", "with_", "after"),
    [
        ("g(1, a)", "b", "g(1, b)"),
        ("g(1, (a or b), k=1)", "h(__argument__)", "g(1, h(a or b), k=1)"),
        ("g(1, a or b)", "__argument__.c", "g(1, (a or b).c)"),
        ("g(1, a)", "__argument__ or b", "g(1, a or b)"),
    ],
)
def test_an_argument_is_replaced(before, with_, after):
    check(ReplaceArgument("g", 1, with_), before + "\n", after + "\n")


def test_a_missing_argument_is_refused():
    assert refused(NoMatch, ReplaceArgument("g", 1, "b"), "g(1, a=2)\n") == (
        "expected a positional argument 1 of 'g', found 1 of them in line 1"
    )
    refused(NoMatch, ReplaceArgument("g", 0, "b"), "h(1)\n")
    refused(SeveralMatches, ReplaceArgument("g", 0, "b"), "g(1)\ng(2)\n")


# InsertStatements


BODY = '''\
def f(a):
    """Do."""

    # First.
    x = g(a)

    # Second.
    if h(x):
        return k(x)
    return 0
'''


@pytest.mark.parametrize(
    ("place", "anchor"),
    [
        ({"at": "start"}, '    """Do."""\n'),
        ({"before_call": "g"}, '    """Do."""\n\n'),
        ({"after_call": "g"}, "    x = g(a)\n"),
        ({"before_call": "h"}, "    x = g(a)\n\n"),
        ({"after_call": "h"}, "        return k(x)\n"),
        ({"at": "end"}, "    return 0\n"),
    ],
)
def test_statements_are_inserted(place, anchor):
    do = InsertStatements("# Why.\nif a:\n    b()  # now\n", **place)
    check(do, BODY, BODY.replace(anchor, f"{anchor}    # Why.\n    if a:\n        b()  # now\n"), "f")


def test_statements_are_inserted_in_the_innermost_block():
    do = InsertStatements("b()", before_call="k")
    check(do, BODY, BODY.replace("        return k", "        b()\n        return k"), "f")


def test_statements_go_first_where_there_is_no_docstring():
    check(
        InsertStatements("b()", at="start"),
        "def f():\n    # One.\n    a()\n",
        "def f():\n    b()\n    # One.\n    a()\n",
        "f",
    )


def test_an_inserted_function_gets_blank_lines():
    do = InsertStatements('def b():\n    """Do.\n\n    More.\n    """', at="end")
    text = 'def b():\n    """Do.\n\n    More.\n    """\n'
    check(do, "x = 1\n", f"x = 1\n\n\n{text}")
    method = "\n".join(f"    {line}" if line else line for line in text.splitlines())
    check(do, "class A:\n    x = 1\n\n\ny = 1\n", f"class A:\n    x = 1\n\n{method}\n\n\ny = 1\n", "A")
    check(
        InsertStatements("def b():\n    pass", before_call="g"),
        "def f():\n    x()\n    g()\n",
        "def f():\n    x()\n\n    def b():\n        pass\n\n    g()\n",
        "f",
    )


def test_the_lines_of_an_inserted_string_stay_where_they_are():
    do = InsertStatements('x = """a\n  b\n"""\ny = f"""{x}\nc"""', at="end")
    check(do, "def f():\n    pass\n", 'def f():\n    pass\n    x = """a\n  b\n"""\n    y = f"""{x}\nc"""\n', "f")


def test_statements_that_are_there_are_already_applied():
    do = InsertStatements("x = 1\ny = 2", before_call="g")
    message = refused(
        AlreadyApplied, do, "def f():\n    x = (1)  # one\n    # two\n    y = 2\n    a()\n    g()\n", "f"
    )
    assert message == "expected no such statements yet, found them in line 2"
    assert "y = 2\n    g()" in changed(do, "def f():\n    if a:\n        x = 1\n        y = 2\n    g()\n", "f")


def test_a_place_for_statements_must_be_there_once():
    refused(NoMatch, InsertStatements("b()", before_call="g"), "def f():\n    a()\n", "f")
    refused(SeveralMatches, InsertStatements("b()", after_call="g"), "def f():\n    g()\n    g()\n", "f")
    assert refused(NoMatch, InsertStatements("b()", at="start"), "def f(): g()\n", "f") == (
        "expected an indented body, found the body of 'f' in the line of its definition"
    )


@pytest.mark.parametrize("places", [{}, {"at": "start", "before_call": "g"}])
def test_statements_have_one_place(places):
    with pytest.raises(ValueError, match="takes one of at, before_call and after_call"):
        InsertStatements("b()", **places)


# ReplaceStatement


@pytest.mark.parametrize(
    ("where", "before", "after"),
    [
        ({"assigns": "x"}, "    # Why.\n    x = 1  # one\n", "    # Why.\n    a()\n    b()\n"),
        ({"assigns": "self.x"}, "    self.x: int = (\n        1\n    )\n", "    a()\n    b()\n"),
        ({"assigns": "x, y"}, "    (x, y) = 1, 2\n", "    a()\n    b()\n"),
        ({"calls": "g"}, "    if x:\n        y = [g(1), g(2)]\n", "    if x:\n        a()\n        b()\n"),
        (
            {"assigns": "x", "calls": "g"},
            "    x = 1\n    x = g()\n    g()\n",
            "    x = 1\n    a()\n    b()\n    g()\n",
        ),
        (
            {"tests": "x and y"},
            "    if (x  # one\n        and y):\n        pass\n    elif z:\n        pass\n    else:\n        c()\n        # end\n    d()\n",
            "    a()\n    b()\n    d()\n",
        ),
    ],
)
def test_a_statement_is_replaced(where, before, after):
    check(
        ReplaceStatement("\n        a()\n        b()\n        ", **where),
        f"def f():\n{before}",
        f"def f():\n{after}",
        "f",
    )


def test_the_first_of_several_statements_is_replaced():
    do = ReplaceStatement("x = 3", assigns="x", first=True)
    check(do, "if a:\n    x = 1\nx = 2\n", "if a:\n    x = 3\nx = 2\n")
    assert refused(NoMatch, do, "y = 1\n") == "expected a first statement with an assignment to 'x', found none"


def test_a_statement_is_removed_with_its_comment():
    check(
        ReplaceStatement("", tests="x"),
        "def f():\n    a()\n\n    # Why.\n    if x:\n        pass\n\n    b()\n",
        "def f():\n    a()\n\n    b()\n",
        "f",
    )


def test_a_missing_statement_is_refused():
    do = ReplaceStatement("a()", assigns="x", calls="g")
    assert refused(NoMatch, do, "def f():\n    x = 1\n", "f") == (
        "expected one statement with an assignment to 'x' and a call of 'g', found none"
    )
    refused(NoMatch, ReplaceStatement("a()", assigns="x"), "def f():\n    x += 1\n    x.y = 1\n", "f")
    refused(NoMatch, ReplaceStatement("a()", calls="g"), "def f():\n    if g():\n        pass\n", "f")
    assert refused(NoMatch, ReplaceStatement("a()", tests="x"), "def f():\n    if x.y:\n        pass\n", "f") == (
        "expected one statement 'if x', found none"
    )


def test_an_elif_is_no_statement():
    refused(
        NoMatch,
        ReplaceStatement("a()", tests="x"),
        "def f():\n    if y:\n        pass\n    elif x:\n        pass\n",
        "f",
    )


def test_two_statements_are_refused():
    assert refused(SeveralMatches, ReplaceStatement("a()", assigns="x"), "def f():\n    x = 1\n    x = 2\n", "f") == (
        "expected one statement with an assignment to 'x', found 2 in lines 2, 3"
    )


def test_a_statement_that_keeps_the_old_one_inside_is_already_applied():
    do = ReplaceStatement("with y:\n    x = g()", assigns="x")
    check(do, "def f():\n    x = g()\n", "def f():\n    with y:\n        x = g()\n", "f")


def test_removing_the_only_statement_is_refused():
    message = refused(EditError, ReplaceStatement("", assigns="x"), "def f():\n    x = 1\n", "f")
    assert message.startswith("expected valid Python after the edit, found ")


def test_a_statement_is_named_by_what_it_does():
    with pytest.raises(ValueError, match="assigns and calls, or tests"):
        ReplaceStatement("a()")
    with pytest.raises(ValueError, match="assigns and calls, or tests"):
        ReplaceStatement("a()", assigns="x", tests="y")


# ReplaceTest


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("if a(b):\n    pass\n", "if x and y:\n    pass\n"),
        ("if (a(\n    b\n)):\n    pass\n", "if x and y:\n    pass\n"),
        ("if z:\n    pass\nelif a(b):\n    pass\n", "if z:\n    pass\nelif x and y:\n    pass\n"),
        ("z = 1 if a(b) else 2\n", "z = 1 if x and y else 2\n"),
    ],
)
def test_a_test_is_replaced(before, after):
    check(ReplaceTest("a(b)", "x and y"), before, after)


def test_a_test_of_several_lines_is_indented():
    long = "a" * 60
    with_ = f"(\n    {long}\n    and b{long}\n)"
    check(
        ReplaceTest("x", with_),
        "def f():\n    if x:\n        pass\n",
        f"def f():\n    if (\n        {long}\n        and b{long}\n    ):\n        pass\n",
        "f",
    )


def test_a_test_is_chosen_by_what_it_guards():
    before = "if x:\n    a()\nif x:\n    b()\n"
    assert changed(ReplaceTest("x", "y", containing="b"), before) == "if x:\n    a()\nif y:\n    b()\n"
    assert refused(NoMatch, ReplaceTest("x", "y", containing="c"), before) == (
        "expected one test 'x' guarding a call of 'c', found none"
    )


def test_a_test_must_be_there_once():
    assert refused(SeveralMatches, ReplaceTest("x", "y"), "if x:\n    pass\nz = 1 if x else 2\n") == (
        "expected one test 'x', found 2 in lines 1, 3"
    )
    assert refused(NoMatch, ReplaceTest("x", "y"), "if x and y:\n    pass\n") == "expected one test 'x', found none"
    assert refused(AlreadyApplied, ReplaceTest("x", "y"), "if y:\n    pass\n") == (
        "expected a test 'x', found 'y' in line 1"
    )


# ReplaceBody, AddDecorator, ReplaceDefault


def test_a_body_is_replaced_below_the_docstring():
    check(
        ReplaceBody("# Why.\nreturn g()"),
        'def f():\n    """Do."""\n\n    # One.\n    a()\n\n    return 1\n    # end\n\n\nx = 1\n',
        'def f():\n    """Do."""\n\n    # Why.\n    return g()\n\n\nx = 1\n',
        "f",
    )


def test_a_body_must_be_there():
    assert refused(NoMatch, ReplaceBody("a()"), 'def f():\n    """Do."""\n', "f") == (
        "expected a body to replace, found a docstring alone"
    )
    refused(NoMatch, ReplaceBody("a()"), "class A:\n    x = 1\n", "A")
    refused(NoMatch, ReplaceBody("a()"), "def f(): pass\n", "f")
    refused(AlreadyApplied, ReplaceBody("a()"), "def f():\n    a( )  # now\n", "f")


def test_a_decorator_goes_outside_or_inside_of_the_others():
    before = "class A:\n    # Why.\n    @b\n    async def f(self):\n        pass\n"
    check(AddDecorator("@c(1)"), before, before.replace("@b", "@c(1)\n    @b"), "A.f")
    check(AddDecorator("@c(1)", innermost=True), before, before.replace("@b", "@b\n    @c(1)"), "A.f")
    check(AddDecorator("@c"), "class A:\n    x = 1\n", "@c\nclass A:\n    x = 1\n", "A")


def test_a_decorator_needs_a_definition_without_it():
    assert refused(AlreadyApplied, AddDecorator("@c(1)"), "@a\n@c( 1 )\ndef f():\n    pass\n", "f") == (
        "expected no decorator '@c(1)' yet, found it in line 2"
    )
    refused(NoMatch, AddDecorator("@c"), "x = 1\n")


def test_a_default_is_replaced():
    check(
        ReplaceDefault("x", "True"),
        "class A:\n    x: bool = field(\n        default_factory=f,\n    )  # why\n    y: int = 1\n",
        "class A:\n    x: bool = True  # why\n    y: int = 1\n",
        "A",
    )


def test_a_default_must_be_there():
    do = ReplaceDefault("x", "True")
    assert refused(NoMatch, do, "class A:\n    x: bool\n", "A") == (
        "expected one field 'x: ... = ...', found it without a default in line 2"
    )
    refused(NoMatch, do, "class A:\n    x = False\n", "A")
    refused(NoMatch, do, "class A:\n    def f(self):\n        x: bool = False\n", "A")
    refused(SeveralMatches, do, "class A:\n    x: bool = False\n    x: bool = False\n", "A")
    refused(NoMatch, do, "def f():\n    x: bool = False\n", "f")


# Imports


IMPORTS = '''\
# License.

"""Doc."""

import os
from collections import Counter
from typing import Any

import torch
from megatron.core import parallel_state
from megatron.core.utils import (
    get_model,
    # Needed.
    unwrap,  # why
)

from megatron.bridge.training import config as cfg
from megatron.bridge.training.state import State


def f():
    pass
'''


@pytest.mark.parametrize(
    ("code", "before", "after"),
    [
        ("from __future__ import annotations", "import os\n", "from __future__ import annotations\n\nimport os\n"),
        ("import abc", "import os\n", "import abc\nimport os\n"),
        ("import sys", "import os\n", "import os\nimport sys\n"),
        ("from abc import ABC", "import os\n", "import os\nfrom abc import ABC\n"),
        ("from typing import TypeVar", "import Any\n", "import Any, TypeVar\n"),
        ("from typing import ANY, AAA", "import Any\n", "import AAA, ANY, Any\n"),
        ("import typing", "import os\n", "import os\nimport typing\n"),
        ("import numpy as np", "import torch\n", "import numpy as np\nimport torch\n"),
        ("import yaml", "import torch\n", "import torch\nimport yaml\n"),
        ("from megatron.core.utils import log", "    get_model,\n", "    get_model,\n    log,\n"),
        ("from megatron.core.utils import Zoo", "    get_model,\n", "    Zoo,\n    get_model,\n"),
        ("from megatron.core.utils import zip2", "    unwrap,  # why\n", "    unwrap,  # why\n    zip2,\n"),
        ("from torch import nn", "    unwrap,  # why\n)\n", "    unwrap,  # why\n)\nfrom torch import nn\n"),
        (
            "from megatron.bridge.utils import x",
            "state import State\n",
            "state import State\nfrom megatron.bridge.utils import x\n",
        ),
        (
            "from megatron.bridge.training import utils",
            "import config as cfg\n",
            "import config as cfg\nfrom megatron.bridge.training import utils\n",
        ),
        ("from . import x", "state import State\n", "state import State\n\nfrom . import x\n"),
    ],
)
def test_an_import_goes_where_isort_puts_it(code, before, after, tmp_path):
    check(AddImport(code), IMPORTS, IMPORTS.replace(before, after))
    (tmp_path / "m.py").write_text(changed(AddImport(code), IMPORTS))
    settings = [
        "--config",
        'lint.isort.known-first-party=["megatron.bridge"]',
        "--config",
        "lint.isort.lines-after-imports=2",
    ]
    settings += ["--config", 'lint.isort.known-third-party=["megatron.core","megatron"]']
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "I", *settings, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert not result.returncode, result.stdout


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"""Doc."""\n', '"""Doc."""\n\nimport os\n'),
        ('"""Doc."""\n\nx = 1\n', '"""Doc."""\n\nimport os\n\n\nx = 1\n'),
        ("# License.\n\nx = 1\n", "# License.\n\nimport os\n\n\nx = 1\n"),
        ("import torch\n", "import os\n\nimport torch\n"),
        ("", "import os\n"),
    ],
)
def test_a_first_import_gets_its_place(before, after):
    check(AddImport("import os"), before, after)


def test_an_import_goes_to_the_block_with_its_section():
    check(
        AddImport("from megatron.bridge.b import B"),
        "import os\n\n\nif os:\n    import sys\n\nimport torch\n\nfrom megatron.bridge.a import A\n",
        "import os\n\n\nif os:\n    import sys\n\nimport torch\n\nfrom megatron.bridge.a import A\n"
        "from megatron.bridge.b import B\n",
    )


def test_names_that_become_too_long_for_a_line_get_one_each():
    long = ", ".join(f"name_{number:02}" for number in range(12))
    rows = "".join(f"    name_{number:02},\n" for number in range(13))
    check(AddImport("from a import name_12"), f"from a import {long}\n", f"from a import (\n{rows})\n")


def test_only_missing_names_are_imported():
    assert changed(AddImport("from a import b, c"), "from a import b\n") == "from a import b, c\n"


def test_an_import_that_is_there_is_already_applied():
    assert refused(AlreadyApplied, AddImport("from typing import Any"), IMPORTS) == (
        "expected no such import yet, found it in line 7"
    )
    refused(AlreadyApplied, AddImport("import torch"), IMPORTS)
    assert "import torch as t\n" in changed(AddImport("import torch as t"), IMPORTS)


def test_an_import_is_replaced_or_removed():
    check(
        ReplaceImport("b", "from c import d"), "import a\nfrom b import (\n    x,\n)\n", "import a\nfrom c import d\n"
    )
    check(ReplaceImport("b", ""), "import a\n\nimport b\n\nx = 1\n", "import a\n\nx = 1\n")


def test_what_is_no_import_goes_after_the_imports():
    check(
        ReplaceImport("b", "try:\n    import b\nexcept ImportError:\n    b = None"),
        "import a\nimport b\nimport c\n\n\nx = 1\n",
        "import a\nimport c\n\n\ntry:\n    import b\nexcept ImportError:\n    b = None\n\n\nx = 1\n",
    )


def test_what_is_no_import_takes_the_place_of_the_last_import():
    code = "try:\n    import b\nexcept ImportError:\n    b = None"
    check(ReplaceImport("b", code), "import a\n\nimport b\n\n\nx = 1\n", f"import a\n\n\n{code}\n\n\nx = 1\n")
    check(ReplaceImport("b", code), "import b\n\n\nx = 1\n", f"{code}\n\n\nx = 1\n")


def test_an_import_to_replace_must_be_there_once():
    do = ReplaceImport("b", "import c")
    assert refused(NoMatch, do, "import a\nif a:\n    import b\n") == (
        "expected one import of 'b' at the top level, found none"
    )
    refused(SeveralMatches, do, "import b\nfrom b import x\n")
    refused(AlreadyApplied, do, "import c\n")


# Code that does not parse


def test_code_that_does_not_parse_is_refused():
    assert refused(EditError, ReplaceBody("return ("), "def f():\n    pass\n", "f").startswith(
        "expected valid Python in the edit and in the file, found "
    )
    refused(EditError, ReplaceBody("return"), "def f(:\n", "f")
    refused(EditError, PassArgument("g", "r=1 2"), "g()\n")


def test_comments_alone_are_not_inserted():
    with pytest.raises(ValueError, match="statements, not comments alone"):
        InsertStatements("# Why.", at="end")


# Messages


WHERE = Where("megatron/bridge/x.py", "patches/edits/x.py", "0.7.0")


def test_a_missing_place_says_where_to_look():
    with pytest.raises(NoMatch) as caught:
        edit(PassArgument("g", "r=r"), "f").apply("def f():\n    pass\n", WHERE)
    assert str(caught.value) == (
        "megatron/bridge/x.py: edit 'tiny' of f: expected one call of 'g', found none "
        "(upstream 0.7.0 given, 0.6.2 pinned). Look at megatron/bridge/x.py in the given upstream and mend "
        "patches/edits/x.py; `python -m patches status --upstream PATH` shows every edit."
    )


def test_an_ambiguous_place_says_where_to_look():
    with pytest.raises(SeveralMatches) as caught:
        edit(ReplaceImport("a", "")).apply("import a\nimport a\n", WHERE)
    assert str(caught.value) == (
        "megatron/bridge/x.py: edit 'tiny' of the module: expected one import of 'a' at the top level, "
        "found 2 in lines 1, 2 (upstream 0.7.0 given, 0.6.2 pinned). Look at megatron/bridge/x.py in the given "
        "upstream and mend patches/edits/x.py; `python -m patches status --upstream PATH` shows every edit."
    )


def test_what_upstream_has_says_to_remove_the_edit():
    with pytest.raises(AlreadyApplied) as caught:
        edit(AddParameter("r=1", ""), "f").apply("def f(r=1):\n    pass\n", WHERE)
    assert str(caught.value) == (
        "megatron/bridge/x.py: edit 'tiny' of f: expected no parameter 'r' yet, found it in line 1 "
        "(upstream 0.7.0 given, 0.6.2 pinned). Upstream has it: remove the edit from patches/series.toml and "
        "patches/edits/x.py."
    )


def test_lines_are_counted_in_the_file_past_letters_of_two_bytes():
    text = '"""Ä."""\n\n\nclass A:\n    """Ö."""\n\n    def f(self):\n        "ü"\n        g("ß")\n        g("é")\n'
    assert refused(SeveralMatches, PassArgument("g", "r=r"), text, "A.f").endswith("found 2 in lines 9, 10")
    text = text.replace('        g("é")\n', "")
    assert changed(PassArgument("g", "r=r"), text, "A.f") == text.replace('g("ß")', 'g("ß", r=r)')
