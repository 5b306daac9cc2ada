# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""What the tests of the edits and of their operations share: each is tried on a small snippet of our own."""

import ast
import dataclasses
import re
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import libcst as cst
import pytest

from patches.edit import Edit
from patches.files import format_files
from patches.operations import InsertStatements, Operation, PassArgument, ReplaceExpression, ReplaceStatement
from patches.series import load_series
from patches.syntax import AlreadyApplied, Changed, EditError, NoMatch, SeveralMatches


ROOT = Path(__file__).resolve().parents[2]
_SERIES = load_series(ROOT)


class Snippet(NamedTuple):
    """A snippet before and after an edit, formatted.

    Args:
        diff: The whole snippet as a diff: lines that stay begin with a space, others with `-` or `+`.
        gone: (old, new), a replacement in the snippet after which the edit must be refused; None for an edit at the
            end of a module.
        twice: The lines to duplicate, without the marks, so that the edit must raise SeveralMatches; default: "", for
            an edit that looks for nothing in its symbol. That a symbol is there twice is a case of test_operations.py.
    """

    diff: str
    gone: tuple[str, str] | None
    twice: str = ""

    def side(self, mark: str) -> str:
        """Return the snippet before the edit, for "-", or after it, for "+"."""
        lines = self.diff.strip("\n").split("\n")
        return "".join(line[1:] + "\n" for line in lines if line[:1] in ("", " ", mark))


def keyword_snippet(symbol: str, test: str, call: str, arguments: str) -> Snippet:
    """Give the snippet of an edit to a test of upstream's that names every keyword of a call."""
    return Snippet(
        f"""
 class {symbol}:
     def {test}(self):
-        {call}(1)
+        {call}(1, {arguments})
""",
        (call, "mock.assert_called_once_with"),
        f"        {call}(1)\n",
    )


def apply(edit: Edit, code: str) -> str:
    return edit.apply(cst.parse_module(code)).code


def fitted(edit: Edit, code: str) -> Edit:
    """Return the edit as one that was written for this code: with its digests."""
    while True:
        try:
            apply(edit, code)
        except Changed as error:
            # "the body of <digest>", and "that of <digest>" with its lines.
            old, new = (re.findall(r"of (\S+)", text)[0] for text in (error.expected, error.found))
            do = tuple(
                dataclasses.replace(each, was=new) if getattr(each, "was", None) == old else each
                for each in _operations(edit)
            )
            edit = dataclasses.replace(edit, do=do)
        else:
            return edit


def formatted(code: str) -> str:
    """Return code as the build formats it."""
    return format_files({"edited.py": code.encode()})["edited.py"].decode()


def _operations(edit: Edit) -> tuple[Operation, ...]:
    return edit.do if isinstance(edit.do, tuple) else (edit.do,)


def edits_of(file: str) -> dict[str, Any]:
    """Return the edits of a file by their names, with the versions where there are several forms of one."""
    forms = {key.partition(":")[2]: placed for key, placed in _SERIES.edits.items() if key.startswith(f"{file}:")}
    return {
        f"{name} {each.edit.versions}" if len(placed) > 1 else name: each.edit
        for name, placed in forms.items()
        for each in placed
    }


def replaces(file: str, name: str) -> bool:
    """Return whether an edit replaces something whole, which its digest stands for."""
    return any(hasattr(each, "was") for each in _operations(edits_of(file)[name]))


def searches(file: str, name: str) -> bool:
    """Return whether an edit looks for a place in its symbol, which there must be once."""
    return any(
        isinstance(each, PassArgument | ReplaceExpression | ReplaceStatement)
        or (isinstance(each, InsertStatements) and bool(each.before_call or each.after_call or each.below))
        for each in _operations(edits_of(file)[name])
    )


class EditSnippets:
    """The tests of a file of edits, which its own test file gives the snippets."""

    FILE: ClassVar[str]
    SNIPPETS: ClassVar[dict[str, Snippet]]

    @pytest.fixture
    def snippet(self, name: str) -> Snippet:
        return self.SNIPPETS[name]

    @pytest.fixture
    def edit(self, name: str, snippet: Snippet) -> Edit:
        return fitted(edits_of(self.FILE)[name], snippet.side("-"))

    def test_every_edit_has_a_snippet(self):
        assert sorted(self.SNIPPETS) == sorted(edits_of(self.FILE))

    def test_edit_produces_expected_result(self, edit, snippet):
        assert formatted(apply(edit, snippet.side("-"))) == snippet.side("+")

    def test_edit_refuses_missing_target(self, edit, snippet):
        if snippet.gone is None:
            pytest.skip("a module has always an end")
        before = snippet.side("-")
        assert snippet.gone[0] in before
        with pytest.raises((NoMatch, Changed)):
            apply(edit, before.replace(*snippet.gone))

    def test_lines_to_duplicate_are_set_for_searching_edits(self, name, snippet):
        assert bool(snippet.twice) == searches(self.FILE, name)

    def test_edit_refuses_target_that_occurs_twice(self, searching):
        before, lines = self.SNIPPETS[searching].side("-"), self.SNIPPETS[searching].twice
        assert before.count(lines) == 1
        with pytest.raises(SeveralMatches):
            apply(fitted(edits_of(self.FILE)[searching], before), before.replace(lines, lines * 2))

    def test_edit_refuses_changed_target(self, replacing):
        with pytest.raises(Changed):
            apply(edits_of(self.FILE)[replacing], self.SNIPPETS[replacing].side("-"))

    def test_edit_refuses_reformatted_result(self, edit, snippet):
        with pytest.raises(AlreadyApplied):
            apply(edit, ast.unparse(ast.parse(snippet.side("+"))) + "\n")

    def test_edit_refuses_second_application(self, edit, snippet):
        with pytest.raises(AlreadyApplied):
            apply(edit, apply(edit, snippet.side("-")))


def edit(do: Operation, symbol: str = "", **more) -> Edit:
    """Give an edit of a snippet by one operation."""
    return Edit("tiny", symbol, "Because.", "Never.", do, **more)


def check(do: Operation, before: str, after: str, symbol: str = "", **more) -> None:
    """Assert that an operation turns one snippet into the other, and refuses to do so twice."""
    fit = fitted(edit(do, symbol, **more), before)
    result = apply(fit, before)
    assert formatted(result) == formatted(after)
    with pytest.raises(AlreadyApplied):
        apply(fit, result)
    with pytest.raises(AlreadyApplied):
        apply(fit, ast.unparse(ast.parse(result)) + "\n")


def refused(kind: type[EditError], do: Operation, before: str, symbol: str = "") -> str:
    """Assert that an operation refuses a snippet with this kind of error; give what it says."""
    with pytest.raises(kind) as caught:
        apply(edit(do, symbol), before)
    assert type(caught.value) is kind
    return str(caught.value)


class TextSnippets:
    """The tests of a file of edits to a text, which its own test file gives the text: all of them, one after the other."""

    FILE: ClassVar[str]
    TEXT: ClassVar[str]
    GONE: ClassVar[tuple[str, str]]

    def test_text_edits_add_lines_only_once(self):
        text = self.TEXT
        for each in edits_of(self.FILE).values():
            changed = each.apply(text)
            assert set(text.split("\n")) - set(changed.split("\n")) <= {self.GONE[0]} and len(changed) > len(text)
            with pytest.raises(AlreadyApplied):
                each.apply(changed)
            text = changed

    def test_edit_refuses_missing_target(self):
        assert self.GONE[0] in self.TEXT
        first = next(iter(edits_of(self.FILE).values()))
        with pytest.raises(NoMatch):
            first.apply(self.TEXT.replace(*self.GONE))
