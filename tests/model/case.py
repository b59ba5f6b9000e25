"""A search of its own: rules, faults, where it starts, and the broken promise that it must find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.model.model import Model
from tests.model.moves import RunModel
from tests.model.rules import Fault, Rules
from tests.model.search import Found, search

__all__ = ["Case"]


@dataclass(frozen=True)
class Case:
    """A search of its own. `expected` is part of the problem that it must find; empty: it must find none."""

    name: str
    rules: Rules
    faults: Mapping[Fault, int]
    expected: str = ""
    until: str = ""
    sweep: bool = True
    """False: every run must end without the help of the sweep."""

    def model(self) -> Model[Any]:
        """The model that the rules are of."""
        return RunModel(self.rules)

    def search(self, most: int) -> Found:
        """Search at most so many states; a case that expects a problem ends at the first."""
        return search(
            self.model(),
            self.faults,
            until=self.until,
            most=most,
            sweep=self.sweep,
            first_only=bool(self.expected),
        )

    def is_right(self, found: Found) -> bool:
        """True if the search found what the case expects, or nothing where it expects nothing."""
        if not self.expected:
            return not found.problems
        return any(self.expected in problem for problem in found.problems)
