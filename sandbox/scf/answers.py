"""What a call brings, what all calls cost, and what a call is given."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Final

import msgspec

__all__ = ["Answer", "Meter", "Role", "Stats", "Status"]

_MB_PER_GB: Final = 1024


class Status(IntEnum):
    """How a call ended (SCF, "Function status codes")."""

    OK = 200
    EVENT_TOO_LARGE = 406
    FAILED = 430
    """The function's code raised: its server answered other than 2xx."""
    BUSY = 432
    """Every instance that may be is at work."""
    TIME_LIMIT = 433
    MEMORY_LIMIT = 434
    DIED = 439
    """The process ended by itself."""
    NOT_STARTED = 446
    """Its server was not up in time."""


class Answer(msgspec.Struct, frozen=True):
    """How one call ended."""

    status: Status
    result: Any = None
    """What the handler returned."""
    error: Mapping[str, Any] = {}
    """What the function's server said of its failure."""
    seconds: float = 0.0
    cold: bool = False
    """Whether an instance was started for it."""
    request_id: str = ""


class Stats(msgspec.Struct, frozen=True):
    """What all calls of a function cost so far."""

    invocations: int
    by_status: Mapping[Status, int]
    cold_starts: int
    retries: int
    """Invocations that repeated a failed one."""
    seconds: float
    """Time in calls, each rounded up to a millisecond."""
    init_seconds: float
    """Time in starts; not in `seconds`. Whether SCF bills it is not documented."""
    gb_seconds: float
    """Configured memory times `seconds`: what is billed (SCF, "Billing mode")."""


class Role(msgspec.Struct, frozen=True):
    """The credentials of an execution role, as they are for one call."""

    secret_id: str
    secret_key: str
    token: str


class Meter:
    """Counts.

    Args:
        memory_mb: configured memory.
    """

    def __init__(self, memory_mb: int) -> None:
        self._memory_mb = memory_mb
        self._statuses: Counter[Status] = Counter()
        self._milliseconds = 0
        self.init_seconds = 0.0
        self.cold_starts = 0
        self.retries = 0

    def count(self, answer: Answer) -> None:
        """One more call has ended."""
        self._statuses[answer.status] += 1
        self._milliseconds += math.ceil(answer.seconds * 1000)

    @property
    def stats(self) -> Stats:
        """What was counted."""
        seconds = self._milliseconds / 1000
        return Stats(
            invocations=self._statuses.total(),
            by_status=dict(self._statuses),
            cold_starts=self.cold_starts,
            retries=self.retries,
            seconds=seconds,
            init_seconds=round(self.init_seconds, 3),
            gb_seconds=seconds * self._memory_mb / _MB_PER_GB,
        )
