# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""An edit to a file of upstream, and what it says where it does not fit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider

from patches.operations import Operation
from patches.syntax import AlreadyApplied, Changed, EditError, OtherPath, add_imports, change_symbol, meaning


@dataclass(frozen=True)
class Edit:
    """One edit to one file of upstream, with a name of its own there, why it is there, and when it can go.

    Args:
        symbol: The function or class in question, "" for the module.
        do: What it does, one thing after the other.
        imports: What it needs, as in `from a.b import c`.
        without: A name of a second path beside the one that the edit changes: where the file has it, the edit is not enough.
        versions: The upstreams that it is for, as in `<0.7`; "" for all. Where the place differs between them, another form
            of the edit, of the same name, stands beside it.
    """

    name: str
    symbol: str
    why: str
    drop_when: str
    do: Operation | Sequence[Operation]
    imports: Sequence[str] = ()
    without: str = ""
    versions: str = ""

    def apply(self, module: cst.Module) -> cst.Module:
        """Return a module with the edit, or raise an EditError."""
        if self.without and self.without in module.code:
            raise OtherPath(f"no {self.without}", "it")
        try:
            changed = change_symbol(module, self.symbol.split(".") if self.symbol else (), self._change)
            return add_imports(changed, self.imports)
        except EditError as error:
            places = MetadataWrapper(module, unsafe_skip_copy=True).resolve(PositionProvider) if error.nodes else {}
            lines = sorted(places[node].start.line for node in error.nodes if node in places)
            error.found += f" in line{'s' * (len(lines) > 1)} {', '.join(map(str, lines))}" if lines else ""
            raise

    def _change(self, scope: Any) -> Any:
        changes, meant = [], meaning(scope)
        for operation in self.do if isinstance(self.do, Sequence) else [self.do]:
            scope = operation(scope)
            # A SyntaxError, where an operation and its place do not make Python together.
            changes.append(meant != (meant := meaning(scope)))
        if not any(changes):
            raise AlreadyApplied("no such change yet", "it")
        if not all(changes):
            raise Changed("the edit, or nothing of it", f"{changes.count(False)} of its {len(changes)} parts")
        return scope
