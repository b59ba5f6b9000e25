"""The state of one run as its records tell it: what pure decisions are made from."""

from __future__ import annotations

import msgspec

from messages.keys import RunId
from tasks.ledger.records import Accepted, End, Verdict

__all__ = ["PaidCall", "Snapshot", "live_jobs", "open_calls"]


class PaidCall(msgspec.Struct, frozen=True):
    """All that is known of one paid call."""

    n: int
    at: float
    """When its intent was stored."""
    open_s: float
    job: str = ""
    end: End | None = None
    given_up: bool = False

    @property
    def live(self) -> bool:
        """The vendor accepted it, and no bad end of it is recorded."""
        return bool(self.job) and self.end is None

    @property
    def open(self) -> bool:
        """Its outcome is not known."""
        return not self.job and self.end is None and not self.given_up


class Snapshot(msgspec.Struct, frozen=True):
    """What the ledger says of one run, as far as `next_step` asks."""

    run: RunId
    accepted: Accepted | None = None
    verdict: Verdict | None = None
    delivered: bool = False
    conflict: bool = False
    """The backend did not say that it has our verdict."""
    reopened: bool = False
    refused: bool = False
    cleaned: bool = False
    calls: tuple[PaidCall, ...] = ()
    begun: tuple[tuple[str, int], ...] = ()
    """(stage, highest seq begun), a hint from a listing."""


def live_jobs(calls: tuple[PaidCall, ...]) -> tuple[PaidCall, ...]:
    """Jobs known and not ended."""
    return tuple(call for call in calls if call.live)


def open_calls(calls: tuple[PaidCall, ...]) -> tuple[PaidCall, ...]:
    """Paid calls whose outcome is not known."""
    return tuple(call for call in calls if call.open)
