# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Each operation on small snippets: what it does, and what it refuses. On statements: test_statement_operations.py."""

import libcst as cst
import pytest
from edit_snippets import apply, check, edit, formatted, refused

from patches.operations import (
    AddDecorator,
    AddParameter,
    ExtendDocstring,
    PassArgument,
    ReplaceDocstring,
    ReplaceExpression,
)
from patches.syntax import AlreadyApplied, Changed, NoMatch, SeveralMatches


# Symbols


NESTED = "class Outer:\n    def method(self):\n        return 1\n\n\ndef twice(): ...\ndef twice(): ...\n"


def test_symbol_is_found_by_qualified_name():
    check(AddDecorator("@a"), NESTED, NESTED.replace("    def", "    @a\n    def"), "Outer.method")
    check(AddDecorator("@a"), NESTED, NESTED.replace("class", "@a\nclass"), "Outer")


@pytest.mark.parametrize("symbol", ["method", "Outer.inner", "missing", "Outer.method.inner"])
def test_missing_symbol_is_refused(symbol):
    last = symbol.rpartition(".")[2]
    assert refused(NoMatch, AddDecorator("@a"), NESTED, symbol) == (
        f"expected one function or class '{last}', found none"
    )


def test_symbol_defined_twice_is_refused():
    assert refused(SeveralMatches, AddDecorator("@a"), NESTED, "twice") == (
        "expected one function or class 'twice', found 2 in lines 6, 7"
    )


# AddParameter


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def f(): ...", "def f(c=0): ..."),
        ("def f(*args): ...", "def f(c=0, *args): ..."),
        ("def f(a, *, b): ...", "def f(a, c=0, *, b): ..."),
        ("def f(a, /, b, *args, **kwargs): ...", "def f(a, /, b, c=0, *args, **kwargs): ..."),
        ("async def f(a=(1)) -> None: ...", "async def f(a=(1), c=0) -> None: ..."),
        ("def f(\n    a,\n    b,\n): ...", "def f(\n    a,\n    b,\n    c=0,\n): ..."),
    ],
)
def test_positional_parameter_is_added_before_star(before, after):
    check(AddParameter("c=0", ""), before + "\n", after + "\n", "f")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def f(): ...", "def f(*, c=0): ..."),
        ("def f(a): ...", "def f(a, *, c=0): ..."),
        ("def f(a, *, b): ...", "def f(a, *, b, c=0): ..."),
        ("def f(*args, **kwargs): ...", "def f(*args, c=0, **kwargs): ..."),
    ],
)
def test_keyword_only_parameter_is_added_after_star(before, after):
    check(AddParameter("c=0", "", keyword_only=True), before + "\n", after + "\n", "f")


def test_parameter_is_documented_before_kwargs():
    before = '''\
class A:
    def f(self, a, **kwargs):
        """Do.

        Args:
            a: The a,
                which goes on.

                And on.
            **kwargs: More.

        Returns:
            Nothing.
        """
'''
    check(
        AddParameter("b=1", "b: The b,\nwhich goes on.\n\nAnd on."),
        before,
        before.replace("a, **", "a, b=1, **").replace(
            "            **",
            "            b: The b,\n                which goes on.\n\n                And on.\n            **",
        ),
        "A.f",
    )


@pytest.mark.parametrize("docstring", ["", '"""Do."""', '"""Do.\n\n    Returns:\n        It.\n    """'])
def test_documented_parameter_requires_args_section(docstring):
    assert "found none" in refused(NoMatch, AddParameter("b=1", "b: B."), f"def f(a):\n    {docstring}\n    a\n", "f")


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


@pytest.mark.parametrize(
    ("do", "old", "new"),
    [
        (ExtendDocstring("Example:", ">>> g()"), ">>> f()\n", ">>> f()\n\n        >>> g()\n"),
        (ExtendDocstring("Note:", "And\n    small."), "Fast.\n", "Fast.\n        And\n            small.\n"),
        (ExtendDocstring("Raises:", "E: Always."), "Fast.\n", "Fast.\n\n    Raises:\n        E: Always.\n"),
    ],
    ids=lambda value: getattr(value, "section", ""),
)
def test_docstring_section_is_extended_or_added(do, old, new):
    check(do, DOCUMENTED, DOCUMENTED.replace(old, new), "f")


def test_docstring_is_replaced_with_same_quotes():
    check(
        ReplaceDocstring("Do more.\n\nSlowly.", "?"),
        'class A:\n    def f(self):\n        r"""Do."""\n        return 1\n',
        'class A:\n    def f(self):\n        r"""Do more.\n\n        Slowly.\n        """\n        return 1\n',
        "A.f",
    )
    check(ReplaceDocstring("Short.", "?"), '"""\nLong.\n\nVery.\n"""\n', '"""\nShort."""\n')


def test_only_a_docstring_is_changed():
    assert refused(NoMatch, ExtendDocstring("Note:", "Small."), "def f():\n    return ''\n", "f") == (
        "expected a docstring, found none"
    )


# PassArgument


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a.g()", "a.g(r=r)"),
        ("a.g(1, *x)", "a.g(1, *x, r=r)"),
        ("a.g(1, **x)", "a.g(1, r=r, **x)"),
        ("a.g(1, r=(False))", "a.g(1, r=r)"),
        ("g(a.g(1))", "g(a.g(1, r=r))"),
        ("a.g(\n    1,  # one\n)", "a.g(\n    1,  # one\n    r=r,\n)"),
    ],
)
def test_keyword_argument_is_added_to_call(before, after):
    check(PassArgument("a.g", "r=r"), before + "\n", after + "\n")


def test_pass_argument_requires_expected_number_of_calls():
    check(PassArgument("g", "r=r", count=2), "g(1, r=1)\ng(g)\n", "g(1, r=r)\ng(g, r=r)\n")
    assert refused(NoMatch, PassArgument("g", "r=r", count=2), "g(1)\n") == (
        "expected 2 calls of 'g', found 1 in line 1"
    )
    assert refused(SeveralMatches, PassArgument("g", "r=r"), "g(1)\n\ng(2)\n") == (
        "expected one call of 'g', found 2 in lines 1, 3"
    )
    refused(NoMatch, PassArgument("a.g", "r=r"), "g(1)\nb.a.g(1)\na.g\n")


# ReplaceExpression


@pytest.mark.parametrize(
    ("before", "with_", "after"),
    [
        ("x = g(1)", "h(2)", "x = h(2)"),
        ("x = g(1)", "h(__old__)", "x = h(g(1))"),
        ("x = [g(1), 2]", "__old__ if y else None", "x = [g(1) if y else None, 2]"),
        ("x = g(\n    1,\n)", "h(__old__, 2)", "x = h(\n    g(\n        1,\n    ),\n    2,\n)"),
        ("x = g(1) + 1", "__old__ if y else None", "x = (g(1) if y else None) + 1"),
        ("x = g(1).a", "__old__ or y", "x = (g(1) or y).a"),
        ("x = (g(1)).a", "__old__ or y", "x = ((g(1)) or y).a"),
        ("h(*g(1))", "__old__ or y", "h(*g(1) or y)"),
        ("x = not g(1)", "(a or b)", "x = not (a or b)"),
        ("x = not g(1)", "a or b", "x = not (a or b)"),
        ("x = g(1) or z", "__old__ and y", "x = g(1) and y or z"),
    ],
)
def test_call_is_replaced(before, with_, after):
    check(ReplaceExpression("g(...)", with_), before + "\n", after + "\n")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("if a(b):\n    pass\n", "if a(b) and y:\n    pass\n"),
        ("if a(\n    b\n):\n    pass\n", "if a(b) and y:\n    pass\n"),
        ("if z:\n    pass\nelif a(b):\n    pass\n", "if z:\n    pass\nelif a(b) and y:\n    pass\n"),
        ("z = 1 if a( b ) else 2\n", "z = 1 if a(b) and y else 2\n"),
    ],
)
def test_expression_is_replaced_in_any_layout(before, after):
    check(ReplaceExpression("a(b)", "__old__ and y"), before, after)


def test_nested_calls_are_changed():
    check(ReplaceExpression("g(...)", "h(__old__)", count=2), "g(g(1), 2)\n", "h(g(h(g(1)), 2))\n")
    check(PassArgument("g", "r=r", count=2), "g(g(1, r=1), 2)\n", "g(g(1, r=r), 2, r=r)\n")


def test_expression_is_selected_by_guarded_call():
    before = "if x:\n    a()\nif x:\n    b()\nif x and z:\n    b()\n"
    check(ReplaceExpression("x", "y", guarding="b"), before, before.replace("if x:\n    b", "if y:\n    b"))
    refused(NoMatch, ReplaceExpression("x", "y", guarding="c"), before)


def test_replace_expression_requires_expected_count():
    check(ReplaceExpression("g(...)", "h(__old__)", count=2), "g(1)\ng(2)\n", "h(g(1))\nh(g(2))\n")
    do = ReplaceExpression("g(...)", "h()", count=2)
    assert refused(NoMatch, do, "g(1)\n") == "expected 2 of 'g(...)', found 1 in line 1"
    assert refused(SeveralMatches, do, "g(1)\ng(2)\ng(3)\n") == "expected 2 of 'g(...)', found 3 in lines 1, 2, 3"
    assert refused(NoMatch, ReplaceExpression("x + 1", "y"), "x + 2\n") == "expected one 'x + 1', found none"


# AddDecorator


def test_decorator_is_added_outermost_or_innermost():
    before = "class A:\n    # Why.\n    @b\n    async def f(self):\n        pass\n"
    check(AddDecorator("@c(1)"), before, before.replace("@b", "@c(1)\n    @b"), "A.f")
    check(AddDecorator("@c(1)", innermost=True), before, before.replace("@b", "@b\n    @c(1)"), "A.f")


# Several operations, and imports


def test_partly_applied_edit_is_refused():
    both = edit((PassArgument("g", "r=r"), PassArgument("h", "r=r")))
    assert apply(both, "g()\nh()\n") == "g(r=r)\nh(r=r)\n"
    with pytest.raises(AlreadyApplied, match="expected no such change yet, found it"):
        apply(both, "g(r=r)\nh(r=r)\n")
    with pytest.raises(Changed, match="expected the edit, or nothing of it, found 1 of its 2 parts"):
        apply(both, "g(r=r)\nh()\n")


def test_imports_are_added_and_unused_ones_removed():
    before = "from a import b\nimport c\n\nx = b(1)\nc.d()\n"
    do = edit(ReplaceExpression("b(...)", "e(d)"), imports=("from a import e", "from c import d"))
    assert formatted(apply(do, before)) == "import c\nfrom a import e\nfrom c import d\n\n\nx = e(d)\nc.d()\n"
    assert formatted(apply(do, before + "b\n")) == (
        "import c\nfrom a import b, e\nfrom c import d\n\n\nx = e(d)\nc.d()\nb\n"
    )


def test_imports_from_the_future_come_first():
    do = edit(ReplaceExpression("b", "e"), imports=("from __future__ import annotations",))
    assert formatted(apply(do, '"""Doc."""\n\nimport a\n\nx = b(a)\n')) == (
        '"""Doc."""\n\nfrom __future__ import annotations\n\nimport a\n\n\nx = e(a)\n'
    )


def test_error_lines_are_correct_after_non_ascii_text():
    text = '"""Ä."""\n\n\nclass A:\n    """Ö."""\n\n    def f(self):\n        "ü"\n        g("ß")\n        g("é")\n'
    assert refused(SeveralMatches, PassArgument("g", "r=r"), text, "A.f").endswith("found 2 in lines 9, 10")


# Code that does not parse


def test_code_that_does_not_parse_is_refused():
    for do in (PassArgument("g", "r=1 2"), ReplaceExpression("g()", "(")):
        with pytest.raises(cst.ParserSyntaxError):
            apply(edit(do), "g()\n")
