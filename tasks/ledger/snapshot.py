"""The state of one run as its records tell it: what pure decisions are made from."""

from __future__ import annotations

import msgspec

from messages.keys import RunId
from tasks.ledger.records import Accepted, CallEnd, Verdict

__all__ = ["Highest", "PaidCall", "Snapshot", "live_jobs", "open_calls"]


class PaidCall(msgspec.Struct, frozen=True):
    """All that is known of one paid call."""

    n: int
    at: float
    """When its intent was stored."""
    open_s: float
    job: str = ""
    end: CallEnd | None = None
    slot: int = 1
    answered: bool = False
    """The vendor's answer was the result: there is no job."""
    label: str = ""
    """Of the vendor's key that it uses; empty for any."""

    @property
    def live(self) -> bool:
        """The vendor accepted it, and no bad end of it is recorded."""
        return (bool(self.job) or self.answered) and self.end is None

    @property
    def open(self) -> bool:
        """Its outcome is not known."""
        return not self.job and not self.answered and self.end is None


class Highest(msgspec.Struct, frozen=True, order=True):
    """How far the messages of a stage (and slot) have come."""

    stage: str
    slot: int
    """From 1; 0 for stages whose messages belong to the run."""
    seq: int
    """The highest that was begun."""


class Snapshot(msgspec.Struct, frozen=True):
    """What the ledger says of one run, as far as `next_step` asks."""

    run: RunId
    accepted: Accepted | None = None
    verdict: Verdict | None = None
    delivered: bool = False
    conflict: bool = False
    """The backend did not say that it has our verdict."""
    reopened: bool = False
    reopen_denied: bool = False
    cleaned: bool = False
    calls: tuple[PaidCall, ...] = ()
    begun: tuple[Highest, ...] = ()
    """From a listing: a hint."""

    def next_seq(self, stage: str, slot: int = 0) -> int:
        """Return one more than the highest seq that was begun, else 0.

        Args:
            stage: of the messages.
            slot: of generate and poll, from 1; 0 for the other stages.
        """
        return max((one.seq + 1 for one in self.begun if (one.stage, one.slot) == (stage, slot)), default=0)


def live_jobs(calls: tuple[PaidCall, ...]) -> tuple[PaidCall, ...]:
    """Jobs known and not ended."""
    return tuple(call for call in calls if call.live)


def open_calls(calls: tuple[PaidCall, ...]) -> tuple[PaidCall, ...]:
    """Paid calls whose outcome is not known."""
    return tuple(call for call in calls if call.open)
