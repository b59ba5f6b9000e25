"""One call of a function: how its time limit is divided, and which work is begun in it. Pure."""

from __future__ import annotations

import math
from typing import Final

import msgspec

from runtime.errors import BadSettings

__all__ = ["TimeBudget", "budget_of", "check_reserve"]

_GRACE_SHARE: Final = 0.2
"""Share of the limit in which begun work may end, at most."""

_TAIL_SHARE: Final = 0.15
_LONGEST_TAIL_S: Final = 6.0
"""Left of the limit for copies, acks, closing, and sending what was told."""


class TimeBudget(msgspec.Struct, frozen=True):
    """When what ends in one call, by the loop's clock."""

    begin: float
    stop: float
    """Nothing is begun from here on."""
    cut: float
    """What is still at work goes on elsewhere, as a copy."""
    end: float
    """What has still not let go is left to the broker, so that the call returns within its limit."""

    @property
    def let_go_s(self) -> float:
        """Seconds that each step of letting go may take after the end; there are two."""
        return (self.end - self.cut) / 2

    @property
    def span_s(self) -> float:
        """Seconds in which one piece of work may last from the very beginning of the call."""
        return self.cut - self.begin


def budget_of(begin: float, limit: float, grace: float) -> TimeBudget:
    """Divide a call's time.

    Args:
        begin: when the handler was called, by the loop's clock.
        limit: seconds after which the platform kills it.
        grace: seconds that begun work may take when nothing more is begun; cut to a fifth of the limit.
    """
    tail = min(_LONGEST_TAIL_S, limit * _TAIL_SHARE)
    cut = begin + limit - tail
    return TimeBudget(begin=begin, stop=cut - min(grace, limit * _GRACE_SHARE), cut=cut, end=cut + tail / 3)


def check_reserve(budget: TimeBudget, limit: float, reserve: float) -> None:
    """Insist that a call of this length has room for one piece of paid work.

    Raises:
        runtime.errors.BadSettings: it has not; the text names limit and remedy.
    """
    if budget.span_s > reserve:
        return
    needed = math.ceil(reserve + _LONGEST_TAIL_S) + 1
    raise BadSettings(
        f"the function's time limit of {limit:g} s has no room for one paid call with its preparation ({reserve:g} s): "
        f"raise the limit to {needed} s or more, or leave the generate topics out of WORK_TOPICS"
    )
