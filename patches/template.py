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

"""Expressions that replace others."""

import ast

import libcst as cst

from patches.layout import in_parentheses, replace
from patches.source import Source, Splice, expression, move_expression, search


class Template:
    """An expression in which a name may stand for the expression that it replaces.

    Args:
        code: The expression.
        hole: The name; none where it stands for nothing.
    """

    def __init__(self, code: str, hole: str = "") -> None:
        self.code, self.hole = code.strip(), hole
        self.syntax = expression(self.code)
        self._source = Source(self.code)

    @property
    def _node(self) -> cst.BaseExpression:
        statement = self._source.module.body[0]
        assert isinstance(statement, cst.SimpleStatementLine) and isinstance(statement.body[0], cst.Expr)
        return statement.body[0].value

    def holds(self, source: Source, node: cst.CSTNode, inside: cst.CSTNode | None = None) -> bool:
        """Whether an expression is what the template makes, of `inside` if that is given."""
        if not isinstance(node, cst.BaseExpression):
            return False
        bound = _fits(self.syntax, expression(source.code(node)), self.hole)
        if bound is None or not bound or inside is None:
            return bound is not None
        return ast.dump(expression(source.code(inside))) in bound

    def fill(self, source: Source, old: cst.BaseExpression, parent: cst.CSTNode) -> str:
        """The template's code, to stand where the expression `old` stands."""
        indent = source.indent(source.start(old))
        splices = []
        for found in search(self._source.module):
            if isinstance(found.node, cst.Name) and found.node.value == self.hole:
                start, end = self._source.start(found.node), self._source.end(found.node)
                around = parent if found.node is self._node else found.parents[-1]
                code = in_parentheses(source.code(old), old.with_changes(lpar=[], rpar=[]), around)
                splices.append(Splice(start, end, move_expression(code, indent, self._source.indent(start))))
        code = in_parentheses(replace(self.code, splices), self._node, parent)
        return move_expression(code, "", indent)


def _fits(template: ast.AST, node: ast.AST, hole: str) -> list[str] | None:
    """What stands in an expression where a template has its hole.

    Args:
        template: An expression with a name that stands for something else.
        node: The expression to compare with it.
        hole: That name.

    Returns:
        The syntax of what the name stands for, once for each time that the template uses it; None if the
        expression differs from the template anywhere else.
    """
    if isinstance(template, ast.Name) and template.id == hole:
        return [ast.dump(node)]
    if type(template) is not type(node):
        return None
    bound: list[str] = []
    for field in template._fields:
        pairs = _pairs(getattr(template, field, None), getattr(node, field, None))
        for left, right in pairs:
            if isinstance(left, ast.AST) and isinstance(right, ast.AST):
                inner = _fits(left, right, hole)
                if inner is None:
                    return None
                bound += inner
            elif left != right:
                return None
    return bound if len(set(bound)) < 2 else None


def _pairs(left: object, right: object) -> list[tuple[object, object]]:
    if isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        return list(zip(left, right))
    return [(left, right)]
