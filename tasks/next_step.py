"""The decision of a wake: `next_step(snapshot, now)`. Pure."""

from __future__ import annotations

import msgspec

from messages.bodies import Stage
from messages.codes import Code
from tasks.calls.decide import Ended, Lost, MakeCall, Wait, Watch, decide
from tasks.ledger.snapshot import PaidCall, Snapshot, calls_of
from tasks.slots import CollectAt, Hopeless, decide_run

__all__ = [
    "AskInput",
    "AskReopen",
    "AwaitBuild",
    "DeadCall",
    "DenyReopen",
    "Expire",
    "Fail",
    "FinishRun",
    "Look",
    "Needs",
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
    """A replay: the backend must agree before it works."""


class AwaitBuild(msgspec.Struct, frozen=True):
    """Work is due, and this build does not know the kind: another build must do it."""


class DenyReopen(msgspec.Struct, frozen=True):
    """A replay that came too late to be asked about: record `reopen_denied`, no callback."""


class Expire(msgspec.Struct, frozen=True):
    """Out of time: verdict `failed`."""


class Look(msgspec.Struct, frozen=True):
    """Look once at every known job of a slot."""

    slot: int
    calls: tuple[PaidCall, ...]


class DeadCall(msgspec.Struct, frozen=True):
    """A paid call came to a bad end: dead letter."""

    slot: int
    n: int
    code: Code
    unknown: bool


class Publish(msgspec.Struct, frozen=True):
    """Publish a stage's message."""

    stage: Stage
    seq: int
    slot: int = 0
    """From 1, for generate; 0 for the other stages."""


class Fail(msgspec.Struct, frozen=True):
    """Too many slots ended badly, and the run has no verdict yet."""

    code: Code


class Needs(msgspec.Struct, frozen=True):
    """Stages that a kind has besides clean."""

    prompt: bool = False
    vendor: bool = False


Step = FinishRun | Nothing | AskInput | AskReopen | AwaitBuild | DenyReopen | Expire | Look | DeadCall | Publish | Fail


def next_step(snapshot: Snapshot, now: float, *, needs: Needs | None) -> tuple[Step, ...]:
    """Return the next steps of a run: more than one only where several slots need something.

    Args:
        snapshot: the run's state by the ledger.
        now: seconds since the epoch, by the store's clock.
        needs: stages of its kind; None if this build does not know the kind. Then it may end the run, but neither work
            on it nor ask for it to be sold once more.
    """
    end = _end(snapshot, now)
    if end is not None:
        return (end,)
    if needs is None:
        return (AwaitBuild(),)
    if snapshot.run.run > 0 and not snapshot.reopened:
        return (AskReopen(),)
    if snapshot.staged:
        return (Publish(Stage.AUDIT, snapshot.next_seq(Stage.AUDIT)),)
    stage = _unprepared(snapshot, needs)
    if stage is not None and not needs.vendor:
        return (Publish(stage, snapshot.next_seq(stage)),)
    return _slots(snapshot, now, stage)


def _end(snapshot: Snapshot, now: float) -> Step | None:
    """Return the step of a run on which no work is due."""
    accepted = snapshot.accepted
    if snapshot.verdict:
        return FinishRun()
    if accepted is None:
        return AskInput() if snapshot.run.run == 0 else Nothing("no such run")
    if snapshot.run.run > 0:
        if snapshot.reopen_denied and not snapshot.reopened:
            return Nothing("the replay was denied")
        if not (snapshot.reopened or snapshot.reopening) and now >= accepted.deadline:
            return DenyReopen()
    return Expire() if now >= accepted.deadline else None


def _unprepared(snapshot: Snapshot, needs: Needs) -> Stage | None:
    """Return the stage before the paid calls whose record is missing."""
    if not snapshot.cleaned:
        return Stage.CLEAN
    if needs.prompt and not (snapshot.prompted and needs.vendor):
        return Stage.PROMPT
    return None if needs.vendor else Stage.CLEAN


def _slots(snapshot: Snapshot, now: float, before: Stage | None) -> tuple[Step, ...]:
    """Return the steps of the slots that have not ended, then that of the run as a whole.

    Args:
        snapshot: the run's state.
        now: seconds since the epoch, by the store's clock.
        before: the stage that must come before a paid call; None if the run is ready for one.
    """
    if snapshot.accepted is None:
        return ()
    slots = range(1, snapshot.accepted.slots + 1)
    steps = [_slot(slot, snapshot, now, before) for slot in slots if slot not in snapshot.ends]
    match decide_run(snapshot.accepted, snapshot.ends):
        case Hopeless(code):
            return (Fail(code),)
        case CollectAt(at) if at <= now:
            steps.append(Publish(Stage.COLLECT, snapshot.next_seq(Stage.COLLECT)))
        case _:
            pass
    # The stage before the calls is one for all slots.
    return tuple(dict.fromkeys(steps))


def _slot(slot: int, snapshot: Snapshot, now: float, before: Stage | None) -> Step:
    match decide(calls_of(snapshot.calls, slot), now):
        case Watch(calls):
            return Look(slot, calls)
        case Wait():
            return Nothing("a paid call is open")
        case Lost(n):
            return DeadCall(slot, n, Code.VENDOR_UNKNOWN, unknown=True)
        case Ended(n, code):
            return DeadCall(slot, n, code, unknown=False)
        case MakeCall() if before is not None:
            return Publish(before, snapshot.next_seq(before))
        case MakeCall():
            return Publish(Stage.GENERATE, snapshot.next_seq(Stage.GENERATE, slot), slot)
