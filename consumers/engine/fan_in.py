"""Outcome of the decision about a run's slots. Pure."""

from __future__ import annotations

from typing import Final

from consumers.engine.outcomes import Fail, Leave, Next, Outcome
from messages.bodies import Collect, Stage
from tasks.slots import CollectAt, Decision, Hopeless, Undecided

__all__ = ["GRACE_S", "after_slot"]

GRACE_S: Final = 60.0
"""Seconds to wait for the other slots if enough slots were good only after the last call."""


def after_slot(decision: Decision, now: float, seq: int = 0) -> Outcome:
    """Return the outcome of a message that ended a slot, or found it ended.

    Args:
        decision: about the run.
        now: seconds since the epoch, by the store's clock.
        seq: of the message that collects; twice the same number is harmless, because its mark is created once.
    """
    match decision:
        case Undecided():
            return Leave()
        case Hopeless(code):
            return Fail(code)
        case CollectAt(at, latest):
            # After the last call, slots that began together may still end together.
            grace = max(0.0, min(GRACE_S, latest - now))
            return Next(Stage.COLLECT, Collect(), max(at - now, grace if at else 0.0, 0.0), seq)
