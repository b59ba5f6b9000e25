"""What rests for a while: a topic whose next messages would fare no better, and a vendor's key that is full."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from services.vendors.port import VendorKey
from telemetry import logs
from telemetry.events import Event

__all__ = ["Pauses"]

log = logs.get(__name__)


class Pauses:
    """Until when each topic and each vendor's key rests.

    Args:
        monotonic: seconds of a clock that never goes back: the loop's.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._until: dict[str | VendorKey, float] = {}

    def pause(self, what: str | VendorKey, seconds: float) -> None:
        """Let a topic or a key rest; a longer rest that is under way stays."""
        until = self._monotonic() + seconds
        if until <= self._until.get(what, 0.0):
            return
        self._until[what] = until
        if isinstance(what, VendorKey):
            log.info(Event.VENDOR_PAUSED, vendor=what.vendor, label=what.label, seconds=seconds)
        else:
            log.info(Event.TOPIC_PAUSED, topic=what, seconds=seconds)

    def resting(self) -> dict[str, float]:
        """Topics and keys that rest now, with the seconds left."""
        now = self._monotonic()
        return {str(what): until - now for what, until in self._until.items() if until > now}

    def left(self, topics: Sequence[str], keys: Sequence[VendorKey] = ()) -> float:
        """Seconds until work of some topics may be begun.

        Args:
            topics: one consumer takes them all, unasked which: so the longest rest counts.
            keys: of the vendor whose calls they carry, if any: a call may use any, so the shortest rest counts.
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
        rested = False
        while left := self.left(topics, keys):
            rested = True
            await asyncio.sleep(left)
        if rested:
            log.info(Event.TOPIC_RESUMED, topics=topics)
