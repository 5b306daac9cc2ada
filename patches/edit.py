# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""An edit to a Python file of upstream, and the errors if it does not fit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider

from patches.operations import Operation
from patches.syntax import AlreadyApplied, Changed, EditError, OtherPath, add_imports, change_symbol, meaning


@dataclass(frozen=True)
class Edit:
    """One edit to one file of upstream: its name in that file, why it exists, and when to remove it.

    Args:
        symbol: The function or class to edit, "" for the module.
        do: One operation, or several that are applied in order.
        imports: The imports that the new code needs, as in `from a.b import c`.
        without: The name of a second implementation that the edit does not change. If the file contains it, the edit is
            refused.
        versions: The versions of upstream to edit, as in `<0.7`; "" for all. An edit of the same name for other versions
            is another form of it.
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
            # Raises SyntaxError if the operation's code is not valid at its place.
            changes.append(meant != (meant := meaning(scope)))
        if not any(changes):
            raise AlreadyApplied("no such change yet", "it")
        if not all(changes):
            raise Changed("the edit, or nothing of it", f"{changes.count(False)} of its {len(changes)} parts")
        return scope
