"""Fairness among users: how many messages of one user a process works on at once.

A message over the cap is held for a moment, and takes the first place that becomes free. If none does, it is published
again with a delay that fits its place in line, so a place is never free for long and few messages are published twice.
The cap yields where it would help no other user.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable
from typing import Final

from messages.bodies import Stage
from messages.codec import Header

__all__ = ["THROTTLE_LONGEST_S", "THROTTLE_SHORTEST_S", "UserCap", "UserLine", "throttle_delay"]

THROTTLE_SHORTEST_S: Final = 1.0
THROTTLE_LONGEST_S: Final = 30.0

_EARLY: Final = 0.8
"""Share of the expected wait after which a message comes again, so that no place stays free for long."""

_WEIGHT: Final = 0.3
"""Weight of the newest duration in the average."""

_LOOK_S: Final = 0.25
"""Seconds between two checks of whether the cap yields."""

_CAPPED: Final = frozenset({Stage.CLEAN.value, Stage.PROMPT.value, Stage.GENERATE.value, Stage.COLLECT.value})
"""Stages with long work. Polls are short, and a verdict never waits."""


def throttle_delay(ahead: int, took_s: float, most: int) -> float:
    """Return the seconds until a message over the cap comes again.

    Args:
        ahead: older messages of its user that come again before it.
        took_s: seconds that one of them takes; 0 if unknown.
        most: messages of its user at once.
    """
    expected = (ahead + 1) * took_s / most
    return min(THROTTLE_LONGEST_S, max(THROTTLE_SHORTEST_S, _EARLY * expected))


class UserLine:
    """Messages of one user that will come again, and how long one takes. Pure."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._took = 0.0
        self._away: list[tuple[int, str, float]] = []
        """(created, task, due) of each, oldest first."""

    def took(self, seconds: float) -> None:
        """Note how long a message took."""
        self._took += (seconds - self._took) * (_WEIGHT if self._took else 1.0)

    def join(self, created: int, task: str, now: float) -> float:
        """Send a message away. Returns the seconds until it comes again.

        Args:
            created: of the message, milliseconds since the epoch.
            task: of the message; says which of two of the same time is first.
            now: seconds of any one clock.
        """
        self._away = [each for each in self._away if each[2] > now]
        delay = throttle_delay(bisect_left(self._away, (created, task, now)), self._took, self._most)
        insort(self._away, (created, task, now + delay))
        return delay


class UserCap:
    """Counts the messages at work of each user. To be used where the loop runs.

    Args:
        most: messages of one user at once; 0 for no limit.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._at_work: Counter[str] = Counter()
        self._lines: dict[str, UserLine] = {}
        self._waiters: dict[str, asyncio.Future[None]] = {}

    def counted(self, header: Header) -> str:
        """Return the user that a message counts for; empty for stages without a cap."""
        return header.user if self._most and header.stage in _CAPPED else ""

    def is_full(self, user: str) -> bool:
        """Return True if the next message of a user must wait."""
        return self._at_work[user] >= self._most

    def enter(self, user: str) -> None:
        """Count a message that is worked on from now on; `leave` must follow."""
        self._at_work[user] += 1

    def leave(self, user: str, took_s: float) -> None:
        """Count it no more, or give its place to the one that waits.

        Args:
            user: of the message.
            took_s: seconds that it was at work.
        """
        if user in self._lines:
            self._lines[user].took(took_s)
        if waiter := self._waiters.pop(user, None):
            waiter.set_result(None)
            return
        self._at_work[user] -= 1
        if not self._at_work[user]:
            del self._at_work[user]
            self._lines.pop(user, None)

    async def enter_soon(self, user: str, seconds: float, has_spare: Callable[[], bool]) -> bool:
        """Wait for a free place of a user; `leave` must follow if it returns True.

        Args:
            user: of the message.
            seconds: to wait at most. One message of a user waits; the permits of the others are better used elsewhere.
            has_spare: whether a permit is free and finds nothing to do. If nothing of other users is at work either,
                the cap would only leave permits idle, and yields.
        """
        if self._yields(has_spare):
            self.enter(user)
            return True
        if user in self._waiters:
            return False
        self._lines.setdefault(user, UserLine(self._most))
        loop = asyncio.get_running_loop()
        ends = loop.time() + seconds
        waiter = self._waiters[user] = loop.create_future()
        try:
            while (left := ends - loop.time()) > 0:
                await asyncio.wait([waiter], timeout=min(left, _LOOK_S))
                if waiter.done():
                    return True
                if self._yields(has_spare):
                    self.enter(user)
                    return True
        except asyncio.CancelledError:
            if waiter.done():
                self.leave(user, 0.0)
            raise
        finally:
            if self._waiters.get(user) is waiter:
                del self._waiters[user]
        return False

    def send_away(self, header: Header) -> float:
        """Return the seconds until a message that found no place comes again."""
        line = self._lines.setdefault(header.user, UserLine(self._most))
        return line.join(header.created, header.task, asyncio.get_running_loop().time())

    def _yields(self, has_spare: Callable[[], bool]) -> bool:
        return len(self._at_work) == 1 and has_spare()
