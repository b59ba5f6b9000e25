"""Limits of each user, in this process: requests a minute, and streams at once."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

from producer.api.http.problems import Failure

__all__ = ["RateLimit", "StreamLimit"]

_USERS: Final = 10_000
"""Users that are remembered; the one unseen for longest is forgotten first."""


class RateLimit:
    """A token bucket for each user.

    Args:
        per_minute: requests that refill in a minute, and the most at once; 0 for no limit.
        clock: monotonic seconds.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float]) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, user: str) -> None:
        """Count a request.

        Raises:
            producer.api.http.problems.Failure: 429: too many.
        """
        if not self._per_minute:
            return
        now = self._clock()
        left, at = self._left.pop(user, (float(self._per_minute), now))
        left = min(float(self._per_minute), left + (now - at) * self._per_minute / 60)
        self._left[user] = (max(left - 1, 0.0) if left >= 1 else left, now)
        if len(self._left) > _USERS:
            self._left.popitem(last=False)
        if left < 1:
            wait = (1 - left) * 60 / self._per_minute
            raise _too_many(f"more than {self._per_minute} requests a minute", wait)


class StreamLimit:
    """A limit of streams at once: of one user, and of all.

    Args:
        of_user: streams of one user.
        of_all: streams of the process.
    """

    def __init__(self, of_user: int, of_all: int) -> None:
        self._of_user = of_user
        self._of_all = of_all
        self._open: Counter[str] = Counter()

    @contextmanager
    def hold(self, user: str) -> Generator[None]:
        """Count a stream while it is open.

        Raises:
            producer.api.http.problems.Failure: 429: too many are open.
        """
        if self._open[user] >= self._of_user or self._open.total() >= self._of_all:
            raise _too_many("too many open streams", 10.0)
        self._open[user] += 1
        try:
            yield
        finally:
            self._open[user] -= 1
            if not self._open[user]:
                del self._open[user]


def _too_many(detail: str, retry_after: float) -> Failure:
    return Failure(429, detail, code="too_many_requests", retry_after=max(retry_after, 1.0))
