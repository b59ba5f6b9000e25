"""The decision of a replay: its effect, or the reason why it has none. Pure.

A letter is never published again as it was. A replay is a delivery (of a verdict that the backend does not have), a
wake (of a run that has not ended), or a new run, which works only after the backend has reopened the step.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from tasks.dead_letters.standing import Case, NoRun
from tasks.ledger.records import Accepted

__all__ = ["Action", "Plan", "Refusal", "decide", "meaning_of", "next_accepted"]


class Action(StrEnum):
    """Effect of a replay."""

    DELIVER = "deliver"
    """A wake that delivers the verdict."""
    WAKE = "wake"
    """A wake that goes on with the run."""
    NEW_RUN = "new_run"
    """The next run is accepted, and a wake asks the backend to reopen the step."""
    RESUME = "resume"
    """A wake for a new run that a replay has accepted before: that replay may have stopped before its own."""


class Refusal(StrEnum):
    """Reason why a letter is not replayed."""

    SUCCEEDED = "succeeded"
    CANCELLED = "cancelled"
    REPLAYED = "replayed"
    """A later run has failed: its own letter, or a request to replay it again, begins another."""
    AGED_OUT = "aged_out"
    """The ledger no longer has the run, or never had it."""
    UNREADABLE = "unreadable"
    """This build cannot read the letter, its original, or a record of its run."""
    BAD_SIGNATURE = "bad_signature"
    """The original is signed wrongly: it is only shown and purged."""
    ERASED = "erased"
    """The data of its user was erased."""
    DUPLICATE = "duplicate"
    """Another letter of the same run is replayed by the same command."""


_MEANINGS: Final = {
    Action.DELIVER: "its verdict is delivered first; a failed task can be replayed after that",
    Action.WAKE: "its run has not ended: it is woken",
    Action.NEW_RUN: "a new run, after the backend has reopened the step",
    Action.RESUME: "replayed before, at work: its new run is woken again",
    Refusal.SUCCEEDED: "refused: it has succeeded",
    Refusal.CANCELLED: "refused: it was cancelled",
    Refusal.REPLAYED: "refused: replayed before, and that run failed; --again begins another",
    Refusal.AGED_OUT: "refused: the ledger has no such run, or no longer",
    Refusal.UNREADABLE: "refused: this build cannot read it",
    Refusal.BAD_SIGNATURE: "refused: its signature is wrong",
    Refusal.ERASED: "refused: the data of its user was erased",
    Refusal.DUPLICATE: "refused: another letter of the same run is replayed already",
}


_ENDS: Final = {"success": Refusal.SUCCEEDED, "cancelled": Refusal.CANCELLED}
"""Status of a delivered verdict -> why it is final."""


class Plan(msgspec.Struct, frozen=True):
    """Effect of a replay, or the reason why there is none."""

    does: Action | Refusal
    run: int = 0
    """Number of the run that is delivered, woken or begun."""

    @property
    def acts(self) -> bool:
        """True if it has an effect."""
        return isinstance(self.does, Action)


def meaning_of(plan: Plan) -> str:
    """Return the plan as text for an operator."""
    return _MEANINGS[plan.does]


def decide(case: Case, *, again: bool = False) -> Plan:
    """Return the plan of a letter's replay.

    Args:
        case: the letter and its run.
        again: begin another run also where an earlier replay's run has failed.
    """
    standing = case.standing
    if isinstance(standing, NoRun):
        return Plan(Refusal(standing.value))
    if not standing.readable:
        return Plan(Refusal.UNREADABLE)
    current = standing.current
    number, is_later = current.run.run, current is not standing.own
    if current.erased:
        return Plan(Refusal.ERASED, number)
    if current.denied:
        return Plan(Action.NEW_RUN, standing.next_run)
    if current.verdict is None:
        if current.accepted is None:
            return Plan(Refusal.AGED_OUT, number)
        return Plan(Action.RESUME if is_later else Action.WAKE, number)
    if current.delivered is None:
        return Plan(Action.DELIVER, number)
    if refusal := _ENDS.get(current.verdict.status):
        return Plan(refusal, number)
    if current.accepted is None:
        return Plan(Refusal.AGED_OUT, number)
    return Plan(Action.NEW_RUN, standing.next_run) if again or not is_later else Plan(Refusal.REPLAYED, number)


def next_accepted(old: Accepted, now: float, traceparent: str) -> Accepted:
    """Return `accepted` of a new run: the order is the same, and the times count from now.

    Args:
        old: of the run before.
        now: seconds since the epoch, by the store's clock.
        traceparent: of the new run's trace.
    """
    late_by = now - old.created
    return msgspec.structs.replace(
        old,
        created=now,
        deadline=old.deadline + late_by,
        last_call=old.last_call + late_by if old.last_call else 0.0,
        traceparent=traceparent,
    )
