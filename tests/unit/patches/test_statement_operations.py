# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The operations on statements, on small snippets: what they do, and what they refuse."""

import pytest
from edit_snippets import apply, check, edit, fitted, refused

from patches.operations import (
    InsertStatements,
    ReplaceBody,
    ReplaceDocstring,
    ReplaceStatement,
)
from patches.syntax import Changed, EditError, NoMatch, SeveralMatches


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
    ("place", "old", "new"),
    [
        ({}, '"""Do."""\n', '"""Do."""\n    # Why.\n    b()  # now\n'),
        ({"before_call": "g"}, '"""Do."""\n', '"""Do."""\n\n    # Why.\n    b()  # now\n'),
        ({"after_call": "g"}, "x = g(a)\n", "x = g(a)\n    # Why.\n    b()  # now\n"),
        ({"before_call": "h"}, "x = g(a)\n", "x = g(a)\n\n    # Why.\n    b()  # now\n"),
        ({"before_call": "k"}, "        return k", "        # Why.\n        b()  # now\n        return k"),
        ({"after_call": "k"}, "return k(x)\n", "return k(x)\n        # Why.\n        b()  # now\n"),
    ],
    ids=str,
)
def test_statements_are_inserted_in_the_innermost_block(place, old, new):
    check(InsertStatements("# Why.\nb()  # now\n", **place), BODY, BODY.replace(old, new), "f")


def test_statements_go_first_without_a_docstring():
    check(
        InsertStatements("if a:\n    b()"),
        "def f():\n    c()\n",
        "def f():\n    if a:\n        b()\n    c()\n",
        "f",
    )


def test_insert_statements_requires_single_call():
    do = InsertStatements("b()", before_call="g")
    assert refused(NoMatch, do, "f(1)\n") == "expected one call of 'g', found none"
    assert refused(SeveralMatches, do, "g(1)\ng(1)\n") == "expected one call of 'g', found 2 in lines 1, 2"


# ReplaceStatement


@pytest.mark.parametrize(
    ("where", "before", "after"),
    [
        ({"assigns": "x"}, "    # Why.\n    x = 1\n    y = 2\n", "    # Why.\n    a()\n    y = 2\n"),
        ({"assigns": "x.y"}, "    x.y: int = 1\n", "    a()\n"),
        (
            {"tests": "x and y"},
            "    if (x\n        and y):\n        pass\n    else:\n        c()\n    d()\n",
            "    a()\n    d()\n",
        ),
        ({"imports": "b.c"}, "    import b.c as d\n    from b import c\n", "    a()\n    from b import c\n"),
    ],
    ids=str,
)
def test_statement_is_replaced(where, before, after):
    check(ReplaceStatement("a()", "?", **where), f"def f():\n{before}", f"def f():\n{after}", "f")


def test_statement_is_removed_with_comments():
    check(
        ReplaceStatement("", "?", tests="x"),
        "def f():\n    a()\n\n    # Why.\n    if x:\n        pass\n    # else: nothing\n\n    b()\n",
        "def f():\n    a()\n    b()\n",
        "f",
    )


def test_statement_with_matching_digest_is_replaced():
    before = "x = 1\nx = 2\n"
    was = "no digest"
    with pytest.raises(Changed) as caught:
        apply(edit(ReplaceStatement("x = 3", was, assigns="x")), before)
    one, two = str(caught.value).rpartition("that of ")[2].partition(" in ")[0].split(" and ")
    assert str(caught.value).endswith("in lines 1, 2")
    assert apply(edit(ReplaceStatement("x = 3", two, assigns="x")), before) == "x = 1\nx = 3\n"
    assert refused(SeveralMatches, ReplaceStatement("x = 3", one, assigns="x"), "x = 1\nx = 1\n").endswith(
        "lines 1, 2"
    )
    assert refused(NoMatch, ReplaceStatement("x = 3", one, assigns="x"), "y = 1\n") == (
        "expected one statement with 'x', found none"
    )


# What is replaced whole


@pytest.mark.parametrize(
    ("do", "before", "symbol", "what"),
    [
        (ReplaceBody("return 2", "000000000000"), "def f():\n    return 1\n", "f", "body"),
        (ReplaceDocstring("Do.", "000000000000"), '"""Wait."""\n', "", "docstring"),
        (ReplaceStatement("x = 2", "000000000000", assigns="x"), "x = 1\n", "", "statement"),
    ],
)
def test_changed_code_is_refused_with_digest(do, before, symbol, what):
    assert refused(Changed, do, before, symbol).startswith(f"expected the {what} of 000000000000, found that of ")


def test_digest_ignores_layout_and_comments():
    do = fitted(edit(ReplaceBody("return 2", "?"), "f"), "def f():\n    return g(1)\n")
    assert apply(do, 'def f():\n    """Do."""\n    # Why.\n    return g(\n        1\n    )\n') == (
        'def f():\n    """Do."""\n    return 2\n'
    )
    with pytest.raises(Changed):
        apply(do, "def f():\n    return g(2)\n")


@pytest.mark.parametrize("do", [InsertStatements("if a:\n    b()"), ReplaceBody("a()", "?")])
def test_operations_require_function_body(do):
    assert refused(NoMatch, do, "def f(): pass\n", "f") == "expected a body of lines, found none"
    refused(NoMatch, do, "x = 1\n")


def test_comments_alone_are_not_inserted():
    assert refused(EditError, InsertStatements("# Why."), "def f():\n    a()\n", "f") == (
        "expected statements, found comments alone"
    )
