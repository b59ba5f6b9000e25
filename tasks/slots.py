"""The slots of a run: when it is decided, and the write of a slot's end.

A slot is one of the paid calls that a run needs at once, with messages, marks and calls of its own. First the slot's
end is written, then the ends of all slots are read: of two slots that end at once, at least one sees both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from messages.codes import Code, code_of
from messages.keys import RunId
from tasks.calls.spend import count_usage
from tasks.ledger.ledger import Ledger
from tasks.ledger.records import Accepted, SlotEnd
from telemetry import logs
from telemetry.events import Event
from telemetry.points import reached

__all__ = ["CollectAt", "Decision", "Hopeless", "Undecided", "decide_run", "end_slot", "read_decision"]

log = logs.get(__name__)


class Undecided(msgspec.Struct, frozen=True):
    """Other slots are still at work, and their ends matter."""


class Hopeless(msgspec.Struct, frozen=True):
    """Too many slots ended badly: the run fails."""

    code: Code


class CollectAt(msgspec.Struct, frozen=True):
    """Enough slots are good: their results are collected at a time, at once if it has passed."""

    at: float
    """Seconds since the epoch; 0 for now: no other slot can add to them."""
    latest: float = 0.0
    """Until when a slot that is about to end may be waited for beyond it, seconds since the epoch."""


Decision = Undecided | Hopeless | CollectAt

_UNDECIDED: Final = Undecided()

_RESERVE_S: Final = 300.0
"""Seconds before the deadline that are left for collecting and auditing."""


def decide_run(accepted: Accepted, ends: Mapping[int, SlotEnd]) -> Decision:
    """Return the decision that the ends of a run's slots allow.

    Args:
        accepted: the run: its slots, how many must be good, and its last call.
        ends: slot -> its end, of those that have ended.
    """
    bad = [end for _, end in sorted(ends.items()) if not end.good]
    good = len(ends) - len(bad)
    if len(bad) > accepted.slots - accepted.enough:
        return Hopeless(code_of(bad[0].code))
    if len(ends) >= accepted.slots:
        return CollectAt(0.0)
    if good < accepted.enough or not accepted.last_call:
        return _UNDECIDED
    return CollectAt(accepted.last_call, accepted.deadline - _RESERVE_S)


async def read_decision(run: RunId, accepted: Accepted, ledger: Ledger) -> Decision:
    """Return the decision that the stored ends of a run's slots allow.

    Raises:
        services.errors.ObjectsDown: the ledger did not answer.
    """
    return decide_run(accepted, await ledger.slot_ends(run, accepted.slots))


async def end_slot(run: RunId, slot: int, end: SlotEnd, accepted: Accepted, ledger: Ledger) -> Decision:
    """Write the end of a slot, or find the one that stands; then return the decision about the run.

    Raises:
        services.errors.ObjectsDown: the ledger did not answer.
    """
    stored = await ledger.write(run, SlotEnd.at(slot), end)
    reached("slot.ended")
    if stored.mine:
        count_usage(accepted.vendor, accepted.kind, end.usage)
        log.info(Event.SLOT_ENDED, slot=slot, n=end.n, good=end.good, code=end.code or None)
    return await read_decision(run, accepted, ledger)
