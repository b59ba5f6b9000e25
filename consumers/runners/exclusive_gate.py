"""Shared/exclusive gate: a message that crashed its worker runs isolated.

Isolation costs the neighbours a bounded share of the time: a message that waits for it keeps the gate shut for seconds,
returns to the broker if that was in vain, and the gate then stays open for longer than it was shut.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final

__all__ = ["FIRST_SHUT_S", "REST_FACTOR", "ExclusiveGate", "ShutTime"]

FIRST_SHUT_S: Final = 3.0
"""Seconds for which the gate first stays shut for a message that waits until the others have left."""

REST_FACTOR: Final = 3.0
"""After it was shut in vain the gate stays open for this many times as long."""


class ShutTime:
    """Times of a gate: how long it may be shut for a waiting message, and when again. Pure.

    If it was shut in vain, it is shut twice as long the next time, in the end for as long as the longest work inside
    takes: so every message gets its turn. In between it is open for `REST_FACTOR` times as long, so that the others
    lose a fixed share of their time.
    """

    def __init__(self) -> None:
        self.limit_s = FIRST_SHUT_S
        """Seconds for which it may be shut the next time."""
        self.open_until = -math.inf
        """When it may be shut again, by the clock of the calls."""

    def was_in_vain(self, since: float, now: float) -> None:
        """Note that it was shut, and the others did not leave in time."""
        self.limit_s *= 2
        self.open_until = now + REST_FACTOR * (now - since)

    def was_used(self, since: float, now: float) -> None:
        """Note that it was shut and one message ran isolated. The others have as much time now."""
        self.limit_s = max(FIRST_SHUT_S, self.limit_s / 2)
        self.open_until = max(self.open_until, now + (now - since))


class ExclusiveGate:
    """A gate that many pass together or one passes isolated. Must be made where the loop runs."""

    def __init__(self) -> None:
        self._now: Callable[[], float] = asyncio.get_running_loop().time
        self._times = ShutTime()
        self._waiters: list[asyncio.Future[None]] = []
        self._inside = 0
        self._queued = 0
        """Those that wait to pass together."""
        self._closers = 0
        """Those that wait to pass isolated, and keep the gate shut."""
        self._shut_since: float | None = None
        self._isolated = False

    def enter_now(self) -> bool:
        """Pass beside others if one may without waiting; `leave` must follow if so."""
        if self._shut_since is not None:
            return False
        self._inside += 1
        return True

    async def enter(self) -> None:
        """Wait until one may pass beside others; `leave` must follow."""
        self._queued += 1
        try:
            while not self.enter_now():
                await self._change()
        finally:
            self._queued -= 1

    def leave(self) -> None:
        """Leave after passing beside others."""
        self._inside -= 1
        if self._waiters:
            self._changed()

    async def enter_isolated(self) -> float:
        """Wait, for a bounded time, until all others have left.

        Returns:
            0 for one that has passed: `leave_isolated` must follow. Else the seconds after which to try again.
        """
        self._closers += 1
        try:
            while True:
                now = self._now()
                if self._may_isolate(now):
                    self._shut(now)
                    self._isolated = True
                    return 0.0
                if now < self._times.open_until:
                    return self._times.open_until - now
                left = self._shut(now) + self._times.limit_s - now
                if left <= 0:
                    return self._give_up(now)
                await self._change(left)
        finally:
            self._closers -= 1
            if not self._closers and not self._isolated:
                self._open()

    def leave_isolated(self) -> None:
        """Leave after passing isolated."""
        now = self._now()
        self._times.was_used(self._shut(now), now)
        self._isolated = False
        self._open()

    def _may_isolate(self, now: float) -> bool:
        """Return True if one may pass isolated. While the gate is to stay open, that must delay no other."""
        return not self._inside and not self._isolated and (not self._queued or now >= self._times.open_until)

    def _shut(self, now: float) -> float:
        """Shut the gate, if it is open. Returns the time since when it is shut."""
        if self._shut_since is None:
            self._shut_since = now
        return self._shut_since

    def _give_up(self, now: float) -> float:
        limit = self._times.limit_s
        if not self._isolated:
            self._times.was_in_vain(self._shut(now), now)
            self._open()
        return max(limit, self._times.open_until - now)

    def _open(self) -> None:
        self._shut_since = None
        self._changed()

    async def _change(self, seconds: float | None = None) -> None:
        """Return after the next change, or after this many seconds.

        A condition variable would cost every message two locks.
        """
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        if seconds is None:
            await waiter
        else:
            await asyncio.wait([waiter], timeout=seconds)

    def _changed(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
