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

"""Putting what an edit brings into the form that `ruff format` gives it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import libcst as cst

from patches.source import Source, Splice, children


LINE_LENGTH = 119
INDENT = "    "

Item = cst.Arg | cst.Param | cst.ParamStar | cst.ParamSlash

_ATOMS = (
    cst.Name,
    cst.Attribute,
    cst.Call,
    cst.Subscript,
    cst.BaseNumber,
    cst.SimpleString,
    cst.FormattedString,
    cst.BaseList,
    cst.BaseDict,
    cst.BaseSet,
    cst.Ellipsis,
)
_DELIMITED_ONLY = (cst.Tuple, cst.NamedExpr, cst.Yield)
_DELIMITERS = (
    cst.Expr,
    cst.Assign,
    cst.AnnAssign,
    cst.AugAssign,
    cst.Return,
    cst.Assert,
    cst.If,
    cst.While,
    cst.Index,
    cst.Element,
    cst.DictElement,
    cst.FormattedStringExpression,
)


@dataclass(frozen=True)
class Brackets:
    """The items between two brackets of a call or of a function's parameters.

    Args:
        start: Offset after the opening bracket.
        end: Offset of the closing bracket.
        items: What stands between them.
    """

    start: int
    end: int
    items: Sequence[Item]


def brackets(source: Source, node: cst.Call | cst.FunctionDef) -> Brackets:
    """The brackets of a call's arguments or a function's parameters."""
    if isinstance(node, cst.Call):
        end = source.end(node) - 1
        start = source.start(node.args[0]) if node.args else end
        return Brackets(source.text.rindex("(", 0, start) + 1, end, node.args)
    start = source.start(node.params)
    return Brackets(source.text.rindex("(", 0, start + 1) + 1, source.end(node.params), list(parameters(node.params)))


def parameters(params: cst.Parameters) -> Iterator[cst.Param | cst.ParamStar | cst.ParamSlash]:
    """A function's parameters and their separators, in their order."""
    yield from params.posonly_params
    if isinstance(params.posonly_ind, cst.ParamSlash):
        yield params.posonly_ind
    yield from params.params
    if isinstance(params.star_arg, cst.Param | cst.ParamStar):
        yield params.star_arg
    yield from params.kwonly_params
    if params.star_kwarg:
        yield params.star_kwarg


def insert_item(source: Source, pair: Brackets, index: int, *codes: str) -> Splice:
    """Put items between brackets, one to a line where the others stand one to a line.

    Args:
        source: Where the brackets stand.
        pair: The brackets.
        index: The index that the first new item gets.
        codes: The new items.
    """
    if not pair.items:
        return Splice(pair.start, pair.end, ", ".join(codes), fold=True)
    rows = _one_a_line(source, pair)
    if index < len(pair.items) and not (rows and index):
        offset = source.start(pair.items[index])
        between = f",\n{source.indent(offset)}" if rows else ", "
        return Splice(offset, offset, "".join(code + between for code in codes), fold=True)
    last = _end(source, pair.items[index - 1])
    if not rows:
        return Splice(last, last, "".join(f", {code}" for code in codes), fold=True)
    return _insert_rows(source, last, codes)


def _insert_rows(source: Source, last: int, codes: Sequence[str]) -> Splice:
    rest = source.text[last : source.line_end(last)]
    comma = rest.lstrip().startswith(",")
    indent = source.indent(last)
    rows = "".join(f"\n{indent}{code}," for code in codes)
    return Splice(last, last + len(rest), ("" if comma else ",") + rest + rows)


def _end(source: Source, item: Item) -> int:
    """Offset after an item, before its comma."""
    if isinstance(item, cst.ParamStar | cst.ParamSlash):
        return source.start(item) + 1
    if isinstance(item, cst.Param) and item.default:
        return source.outer(item.default)[1]
    if isinstance(item, cst.Param) and item.annotation:
        return source.outer(item.annotation.annotation)[1]
    return source.end(item)


def _one_a_line(source: Source, pair: Brackets) -> bool:
    ends = [_end(source, item) for item in pair.items]
    starts = [source.start(item) for item in pair.items[1:]]
    gaps = [source.text[end:start] for end, start in zip(ends, [*starts, pair.end])]
    return any("\n" in gap for gap in gaps[:-1]) or bool(re.match(r"\s*,", gaps[-1]) and "\n" in gaps[-1])


def fold(text: str, offset: int) -> str:
    """Break a line that is too long at the brackets of the calls and parameter lists around an offset.

    The outermost are broken first: what they hold goes to a line of its own, and where that is too long, too,
    each item does. A line without such brackets stays too long.

    Args:
        text: The text.
        offset: An offset in the line.
    """
    while len(_line(text, offset)) > LINE_LENGTH:
        source = Source(text)
        steps = (_break(source, pair) for pair in _brackets_around(source, source.module, offset))
        splices = next((step for step in steps if step), None)
        if not splices:
            break
        offset += sum(len(splice.text) - (splice.end - splice.start) for splice in splices if splice.end <= offset)
        text = replace(text, splices)
    return text


def _line(text: str, offset: int) -> str:
    return text[text.rfind("\n", 0, offset) + 1 :].partition("\n")[0]


def _brackets_around(source: Source, node: cst.CSTNode, offset: int) -> Iterator[Brackets]:
    for child in children(node):
        if isinstance(child, cst.Call | cst.FunctionDef) and not (isinstance(child, cst.Call) and not child.args):
            pair = brackets(source, child)
            if pair.start <= offset <= pair.end:
                yield pair
        if isinstance(
            child, cst.BaseStatement | cst.BaseSuite | cst.BaseSmallStatement | cst.BaseExpression | cst.Arg
        ):
            yield from _brackets_around(source, child, offset)


def _break(source: Source, pair: Brackets) -> list[Splice]:
    """One step of breaking up what stands between brackets; none where each item has its line."""
    inside = source.text[pair.start : pair.end]
    indent = source.indent(pair.start)
    if "\n" not in inside:
        return [
            Splice(pair.start, pair.start, f"\n{indent}{INDENT}"),
            Splice(pair.end, pair.end, f"\n{indent}"),
        ]
    if "\n" in inside.strip() or _one_a_line(source, pair):
        return []
    starts = [source.start(item) for item in pair.items]
    end = _end(source, pair.items[-1])
    splices = [Splice(len(source.text[:start].rstrip()), start, f"\n{source.indent(start)}") for start in starts[1:]]
    only = pair.items[0] if len(pair.items) == 1 else None
    if isinstance(only, cst.Arg) and isinstance(only.value, cst.GeneratorExp):
        return []
    return [*splices, Splice(end, end, ",")]


def replace(text: str, splices: Sequence[Splice]) -> str:
    """Apply changes that do not overlap, and break the lines that become too long by those that ask for it."""
    for splice in sorted(splices, key=lambda splice: splice.start, reverse=True):
        text = text[: splice.start] + splice.text + text[splice.end :]
        if splice.fold:
            last = splice.start + max(len(splice.text) - 1, 0)
            text = fold(fold(text, last), splice.start)
    return text


def in_parentheses(code: str, node: cst.BaseExpression, parent: cst.CSTNode) -> str:
    """An expression's code, in parentheses where it needs them under its new parent.

    Args:
        code: The code.
        node: Its tree.
        parent: The node that it becomes part of.
    """
    if node.lpar or isinstance(node, _ATOMS):
        return code
    if isinstance(parent, cst.Arg):
        delimited = not parent.star
    elif isinstance(parent, cst.IfExp):
        delimited = not isinstance(node, cst.IfExp | cst.Lambda)
    else:
        delimited = isinstance(parent, _DELIMITERS)
    return code if delimited and not isinstance(node, _DELIMITED_ONLY) else f"({code})"
