"""Division of a function call's time limit. Pure."""

from __future__ import annotations

import math
from typing import Final

import msgspec

from runtime.errors import BadSettings

__all__ = ["TimeBudget", "budget_of", "check_reserve"]

_GRACE_SHARE: Final = 0.2
"""Largest share of the limit in which begun work may end."""

_TAIL_SHARE: Final = 0.15
_LONGEST_TAIL_S: Final = 6.0
"""Rest of the limit for copies, acks, closing, and exporting telemetry."""


class TimeBudget(msgspec.Struct, frozen=True):
    """Ends of the phases of a call, by the loop's clock."""

    begin: float
    stop: float
    """End of new work."""
    cut: float
    """Running work is cancelled here and continues elsewhere, as a copy."""
    end: float
    """Messages that are still held here are left to the broker, so that the call returns within its limit."""

    @property
    def let_go_s(self) -> float:
        """Seconds of each of the two closing steps after the end."""
        return (self.end - self.cut) / 2

    @property
    def span_s(self) -> float:
        """Longest work that may begin at the start of the call, in seconds."""
        return self.cut - self.begin


def budget_of(begin: float, limit: float, grace: float) -> TimeBudget:
    """Divide a call's time.

    Args:
        begin: start of the call, by the loop's clock.
        limit: seconds after which the platform kills it.
        grace: seconds for begun work after the end of new work; cut to a fifth of the limit.
    """
    tail = min(_LONGEST_TAIL_S, limit * _TAIL_SHARE)
    cut = begin + limit - tail
    return TimeBudget(begin=begin, stop=cut - min(grace, limit * _GRACE_SHARE), cut=cut, end=cut + tail / 3)


def check_reserve(budget: TimeBudget, limit: float, reserve: float) -> None:
    """Check that a call of this length has room for one piece of paid work.

    Raises:
        runtime.errors.BadSettings: it is too short; the text names limit and remedy.
    """
    if budget.span_s > reserve:
        return
    needed = math.ceil(reserve + _LONGEST_TAIL_S) + 1
    raise BadSettings(
        f"the function's time limit of {limit:g} s has no room for one paid call with its preparation ({reserve:g} s): "
        f"raise the limit to {needed} s or more, or leave the generate topics out of WORK_TOPICS"
    )
