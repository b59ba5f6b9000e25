"""Decisions about the paid calls of a slot. Pure.

Most vendors have no idempotency key, so the rule is: n + 1 only when every lower n is known not to have been accepted
(see `CallEnd.how`), and a call whose outcome stays unknown is never posted again.
"""

from __future__ import annotations

from typing import Final

import msgspec

from messages.bodies import Stage
from messages.codes import Code
from tasks.ledger.snapshot import PaidCall, live_jobs, open_calls

__all__ = [
    "BEFORE_CALLS",
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


def may_fail(calls: tuple[PaidCall, ...], now: float, *, of_call: bool) -> bool:
    """Return True if a slot may end badly because of one message.

    By the ledger and the clock alone, and by the same decision as the next step's: where that waits or looks, nothing
    has failed yet.

    Args:
        calls: every paid call of the slot.
        now: seconds since the epoch, by the store's clock.
        of_call: the message is about the bad end of a paid call: there must be one.
    """
    match decide(calls, now):
        case Watch() | Wait():
            return False
        case Lost() | Ended():
            return True
        case MakeCall():
            return not of_call


def has_paid(calls: tuple[PaidCall, ...]) -> bool:
    """Return True if a call is alive or open: errors of the stages before it no longer count."""
    return bool(live_jobs(calls) or open_calls(calls))
