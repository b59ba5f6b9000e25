"""Answers, costs and credentials of calls."""

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
    """Status of a call (SCF, "Function status codes")."""

    OK = 200
    EVENT_TOO_LARGE = 406
    FAILED = 430
    """The function's code raised: its server did not answer 2xx."""
    BUSY = 432
    """All allowed instances are busy."""
    TIME_LIMIT = 433
    MEMORY_LIMIT = 434
    DIED = 439
    """The process ended by itself."""
    NOT_STARTED = 446
    """Its server did not listen in time."""


class Answer(msgspec.Struct, frozen=True):
    """Result of one call."""

    status: Status
    result: Any = None
    """Return value of the handler."""
    error: Mapping[str, Any] = {}
    """Error that the function's server reported."""
    seconds: float = 0.0
    cold: bool = False
    """True if an instance was started for it."""
    request_id: str = ""


class Stats(msgspec.Struct, frozen=True):
    """Costs of all calls of a function so far."""

    invocations: int
    by_status: Mapping[Status, int]
    cold_starts: int
    retries: int
    """Invocations that repeated a failed one."""
    seconds: float
    """Time in calls, each rounded up to a millisecond."""
    init_seconds: float
    """Time in starts, not included in `seconds`. It is not documented if SCF bills it."""
    gb_seconds: float
    """Configured memory times `seconds`, which is billed (SCF, "Billing mode")."""


class Role(msgspec.Struct, frozen=True):
    """Credentials of an execution role for one call."""

    secret_id: str
    secret_key: str
    token: str


class Meter:
    """Counts calls and their time.

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
        """Count a call that has ended."""
        self._statuses[answer.status] += 1
        self._milliseconds += math.ceil(answer.seconds * 1000)

    @property
    def stats(self) -> Stats:
        """Return the counts."""
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
