# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""What can go wrong when an edit is applied."""

from collections.abc import Sequence
from typing import Any


class EditError(Exception):
    """An edit does not fit its file: what it expected, what is found instead, and the nodes where that is."""

    def __init__(self, expected: str, found: str, nodes: Sequence[Any] = ()) -> None:
        super().__init__(expected, found)
        self.expected, self.found, self.nodes = expected, found, nodes
        self.context = self.advice = ""

    def __str__(self) -> str:
        return f"{self.context}expected {self.expected}, found {self.found}{self.advice}"


class NoMatch(EditError):
    """The place that the edit names is gone."""


class SeveralMatches(EditError):
    """The place that the edit names is not unique."""


class Changed(EditError):
    """What stands in the place is not what the edit was written for."""


class AlreadyApplied(EditError):
    """The file has what the edit would bring."""
