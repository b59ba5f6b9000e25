"""Decisions about the paid calls of a slot. Pure.

No vendor has an idempotency key, so the rule is: n + 1 only when every lower n is known not to have been accepted (see
`CallEnd.how`), and a call whose outcome stays unknown is never posted again.
"""

from __future__ import annotations

from typing import Final

import msgspec

from messages.bodies import Stage
from messages.codes import Code
from tasks.ledger.snapshot import PaidCall, live_jobs, open_calls

__all__ = [
    "BEFORE_CALLS",
    "BEFORE_JOB",
    "Ended",
    "Lost",
    "MakeCall",
    "PaidStep",
    "Wait",
    "Watch",
    "decide",
    "has_paid",
    "may_fail",
]


BEFORE_CALLS: Final = frozenset({Stage.CLEAN, Stage.PROMPT})
"""Stages of the whole run, whose errors no longer count once a paid call is alive."""

BEFORE_JOB: Final = BEFORE_CALLS | {Stage.GENERATE}
"""Stages whose errors no longer count once a job is known."""


class Watch(msgspec.Struct, frozen=True):
    """Jobs are at work: poll them."""

    calls: tuple[PaidCall, ...]


class Wait(msgspec.Struct, frozen=True):
    """The outcome of a call is open: wait for it."""

    delay: float


class Lost(msgspec.Struct, frozen=True):
    """The outcome of a call stayed unknown."""

    n: int


class Ended(msgspec.Struct, frozen=True):
    """The vendor accepted a job and ended it badly."""

    n: int
    code: Code


class MakeCall(msgspec.Struct, frozen=True):
    """The n-th paid call may be made."""

    n: int


PaidStep = Watch | Wait | Lost | Ended | MakeCall


def decide(calls: tuple[PaidCall, ...], now: float) -> PaidStep:
    """Return the next step of a slot that needs a job.

    Args:
        calls: every paid call of the slot.
        now: seconds since the epoch, by the store's clock.
    """
    live = live_jobs(calls)
    if live:
        return Watch(live)
    for call in open_calls(calls):
        left = call.at + call.open_s - now
        return Wait(left) if left > 0 else Lost(call.n)
    for call in calls:
        if call.end and call.end.how == "failed":
            return Ended(call.n, call.end.code)
    return MakeCall(len(calls) + 1)


def may_fail(calls: tuple[PaidCall, ...], n: int, *, before_job: bool) -> bool:
    """Return True if a slot may end badly because of one message.

    Args:
        calls: every paid call of the slot.
        n: the failed paid call; 0 for none.
        before_job: the message belongs to a stage before the job (clean, generate): it is behind the ledger as soon as
            any job is known.
    """
    live = {call.n for call in live_jobs(calls)}
    open_ = {call.n for call in open_calls(calls)} - {n}
    return not open_ and not (live if before_job else live - {n})


def has_paid(calls: tuple[PaidCall, ...]) -> bool:
    """Return True if a call is alive or open: errors of the stages before it no longer count."""
    return bool(live_jobs(calls) or open_calls(calls))
