"""The decision of a wake: `next_step(snapshot, now)`. Pure."""

from __future__ import annotations

import msgspec

from messages.bodies import Stage
from messages.codes import Code
from tasks.calls.decide import Ended, Lost, MakeCall, Wait, Watch, decide
from tasks.ledger.snapshot import PaidCall, Snapshot

__all__ = [
    "AskInput",
    "AskReopen",
    "AwaitBuild",
    "DeadCall",
    "DenyReopen",
    "Expire",
    "FinishRun",
    "Look",
    "Nothing",
    "Publish",
    "Step",
    "next_step",
]


class FinishRun(msgspec.Struct, frozen=True):
    """A verdict is stored: finish."""


class Nothing(msgspec.Struct, frozen=True):
    """Nothing to do now."""

    why: str


class AskInput(msgspec.Struct, frozen=True):
    """Run 0 has no `accepted`: accept the task if its input is there."""


class AskReopen(msgspec.Struct, frozen=True):
    """A replay, which no command starts yet: the backend must agree before it works."""


class AwaitBuild(msgspec.Struct, frozen=True):
    """Work is due, and this build does not know the kind: another build must do it."""


class DenyReopen(msgspec.Struct, frozen=True):
    """A replay that came too late: record `reopen_denied`, no callback."""


class Expire(msgspec.Struct, frozen=True):
    """Out of time: verdict `failed`."""


class Look(msgspec.Struct, frozen=True):
    """Look once at every known job."""

    calls: tuple[PaidCall, ...]


class DeadCall(msgspec.Struct, frozen=True):
    """A paid call came to a bad end: dead letter."""

    n: int
    code: Code
    unknown: bool


class Publish(msgspec.Struct, frozen=True):
    """Publish a stage's message."""

    stage: Stage
    seq: int


Step = FinishRun | Nothing | AskInput | AskReopen | AwaitBuild | DenyReopen | Expire | Look | DeadCall | Publish


def next_step(snapshot: Snapshot, now: float, *, vendor: bool | None) -> Step:
    """Return the next step of a run.

    Args:
        snapshot: the run's state by the ledger.
        now: seconds since the epoch, by the store's clock.
        vendor: True if the kind has a paid call; None if this build does not know the kind. Then it may end the run,
            but neither work on it nor ask for it to be sold once more.
    """
    accepted = snapshot.accepted
    if snapshot.verdict:
        return FinishRun()
    if accepted is None:
        return AskInput() if snapshot.run.run == 0 else Nothing("no such run")
    if snapshot.run.run > 0:
        if snapshot.reopen_denied:
            return Nothing("the replay was denied")
        if not snapshot.reopened and now >= accepted.deadline:
            return DenyReopen()
    if now >= accepted.deadline:
        return Expire()
    if vendor is None:
        return AwaitBuild()
    if snapshot.run.run > 0 and not snapshot.reopened:
        return AskReopen()
    return _work_step(snapshot, now) if vendor else Publish(Stage.CLEAN, snapshot.next_seq(Stage.CLEAN))


def _work_step(snapshot: Snapshot, now: float) -> Step:
    match decide(snapshot.calls, now):
        case Watch(calls):
            return Look(calls)
        case Wait():
            return Nothing("a paid call is open")
        case Lost(n):
            return DeadCall(n, Code.VENDOR_UNKNOWN, unknown=True)
        case Ended(n, code):
            return DeadCall(n, code, unknown=False)
        case MakeCall():
            if snapshot.cleaned:
                return Publish(Stage.GENERATE, snapshot.next_seq(Stage.GENERATE, slot=1))
            return Publish(Stage.CLEAN, snapshot.next_seq(Stage.CLEAN))
