"""Topics that rest for a while, because their next messages would fare no better: an outage, or a full vendor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from telemetry import logs
from telemetry.events import Event

__all__ = ["Pauses"]

log = logs.get(__name__)


class Pauses:
    """Until when each topic rests.

    Args:
        monotonic: seconds of a clock that never goes back: the loop's.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._until: dict[str, float] = {}

    def pause(self, topic: str, seconds: float) -> None:
        """Let a topic rest; a longer rest that is under way stays."""
        until = self._monotonic() + seconds
        if until > self._until.get(topic, 0.0):
            self._until[topic] = until
            log.info(Event.TOPIC_PAUSED, topic=topic, seconds=seconds)

    def resting(self) -> dict[str, float]:
        """What rests now, with the seconds left."""
        now = self._monotonic()
        return {topic: until - now for topic, until in self._until.items() if until > now}

    def left(self, topics: tuple[str, ...]) -> float:
        """Seconds until every one of the topics may be taken from again: one consumer takes them all, unasked which."""
        if not self._until:
            return 0.0
        now = self._monotonic()
        self._until = {topic: until for topic, until in self._until.items() if until > now}
        return max((self._until[topic] - now for topic in topics if topic in self._until), default=0.0)

    async def wait(self, topics: tuple[str, ...]) -> None:
        """Return once every one of the topics may be taken from."""
        rested = False
        while left := self.left(topics):
            rested = True
            await asyncio.sleep(left)
        if rested:
            log.info(Event.TOPIC_RESUMED, topics=topics)
