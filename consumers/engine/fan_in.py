"""Outcome of the decision about a run's slots. Pure."""

from __future__ import annotations

from consumers.engine.outcomes import Fail, Leave, Next, Outcome
from messages.bodies import Collect, Stage
from tasks.slots import CollectAt, Decision, Hopeless, Undecided

__all__ = ["after_slot"]


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
        case CollectAt(at):
            return Next(Stage.COLLECT, Collect(), max(0.0, at - now), seq)
