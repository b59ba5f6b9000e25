"""The state of a run by its records: input of pure decisions."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from messages.keys import RunId
from tasks.ledger.records import Accepted, CallEnd, SlotEnd, Verdict

__all__ = ["Highest", "PaidCall", "Snapshot", "calls_of", "live_jobs", "open_calls"]


class PaidCall(msgspec.Struct, frozen=True):
    """State of a paid call by its records."""

    n: int
    at: float
    """Time of its intent, seconds since the epoch by the store's clock."""
    open_s: float
    job: str = ""
    end: CallEnd | None = None
    slot: int = 1
    answered: bool = False
    """The vendor's answer was the result: there is no job."""
    label: str = ""
    """Label of the vendor's key that it uses; empty for any."""
    vendor: str = ""

    @property
    def live(self) -> bool:
        """True if the vendor accepted it and no bad end is recorded."""
        return (bool(self.job) or self.answered) and self.end is None

    @property
    def open(self) -> bool:
        """True while its outcome is unknown."""
        return not self.job and not self.answered and self.end is None


class Highest(msgspec.Struct, frozen=True, order=True):
    """Progress of the messages of a stage (and slot)."""

    stage: str
    slot: int
    """From 1; 0 for stages whose messages belong to the run."""
    seq: int
    """Highest seq that was begun."""


class Snapshot(msgspec.Struct, frozen=True):
    """State of a run by its records, as far as `next_step` needs it."""

    run: RunId
    accepted: Accepted | None = None
    verdict: Verdict | None = None
    delivered: bool = False
    conflict: bool = False
    """The backend did not confirm our verdict."""
    reopening: bool = False
    """The backend was asked to reopen the step, or is about to be asked."""
    reopened: bool = False
    reopen_denied: bool = False
    cleaned: bool = False
    prompted: bool = False
    calls: tuple[PaidCall, ...] = ()
    """Paid calls of every slot."""
    ends: Mapping[int, SlotEnd] = {}
    """Slot -> its end, of those that have ended."""
    staged: bool = False
    begun: tuple[Highest, ...] = ()
    """From a listing: a hint."""

    def next_seq(self, stage: str, slot: int = 0) -> int:
        """Return one more than the highest seq that was begun, else 0.

        Args:
            stage: of the messages.
            slot: of generate and poll, from 1; 0 for the other stages.
        """
        return max((one.seq + 1 for one in self.begun if (one.stage, one.slot) == (stage, slot)), default=0)


def calls_of(calls: tuple[PaidCall, ...], slot: int) -> tuple[PaidCall, ...]:
    """Return the calls of one slot."""
    return tuple(call for call in calls if call.slot == slot)


def live_jobs(calls: tuple[PaidCall, ...]) -> tuple[PaidCall, ...]:
    """Return the calls whose job is known and not ended."""
    return tuple(call for call in calls if call.live)


def open_calls(calls: tuple[PaidCall, ...]) -> tuple[PaidCall, ...]:
    """Return the paid calls with an unknown outcome."""
    return tuple(call for call in calls if call.open)
