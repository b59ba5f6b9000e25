"""Pauses of topics whose next message would fail too, and of full vendor keys."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from services.vendors.port import VendorKey
from telemetry import logs
from telemetry.events import Event

__all__ = ["Pauses"]

log = logs.get(__name__)


class Pauses:
    """End of the pause of each topic and each vendor's key.

    Args:
        monotonic: seconds of a clock that never goes back: the loop's.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._until: dict[str | VendorKey, float] = {}
        self._waited_for: set[tuple[str, ...]] = set()
        """Topics that rest now, and whose consumers wait for that to end."""

    def pause(self, what: str | VendorKey, seconds: float) -> None:
        """Pause a topic or a key; a longer pause that is under way stays."""
        until = self._monotonic() + seconds
        if until <= self._until.get(what, 0.0):
            return
        self._until[what] = until
        if isinstance(what, VendorKey):
            log.info(Event.VENDOR_PAUSED, vendor=what.vendor, label=what.label, seconds=seconds)
        else:
            log.info(Event.TOPIC_PAUSED, topic=what, seconds=seconds)

    def resting(self) -> dict[str, float]:
        """Return the paused topics and keys, with the seconds left."""
        now = self._monotonic()
        return {str(what): until - now for what, until in self._until.items() if until > now}

    def left(self, topics: Sequence[str], keys: Sequence[VendorKey] = ()) -> float:
        """Return the seconds until work of some topics may begin.

        Args:
            topics: topics of one consumer, which cannot choose among them: the longest pause counts.
            keys: keys of the vendor whose calls they carry, if any: a call may use any, so the shortest pause counts.
        """
        if not self._until:
            return 0.0
        now = self._monotonic()
        self._until = {what: until for what, until in self._until.items() if until > now}
        rests = [self._until.get(topic, now) for topic in topics]
        if keys:
            rests.append(min(self._until.get(key, now) for key in keys))
        return max(rests, default=now) - now

    async def wait(self, topics: Sequence[str], keys: Sequence[VendorKey] = ()) -> None:
        """Return once work of some topics may be begun; arguments as for `left`."""
        together = tuple(topics)
        while left := self.left(topics, keys):
            self._waited_for.add(together)
            await asyncio.sleep(left)
        # Many permits wait for the same topics, and the first of them reports the end.
        if together in self._waited_for:
            self._waited_for.remove(together)
            log.info(Event.TOPIC_RESUMED, topics=topics)
