"""Renews what has lost its connection for too long.

The client reconnects by itself, but waits longer each time, up to a minute: after an outage of some minutes a worker
would stand idle that long beside a broker that is up. What stays away for some seconds is therefore opened anew, which
the client tries with short pauses.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from telemetry import logs
from telemetry.events import Event
from transport.errors import Closed

__all__ = ["AWAY", "Link", "Watchdog"]

AWAY: Final = 5.0
"""Seconds without a connection after which a link is renewed; the client's first tries fall within."""
_CHECK_EVERY: Final = 1.0

log = logs.get(__name__)


class Link(Protocol):
    """A producer or a consumer."""

    @property
    def connected(self) -> bool:
        """Whether the broker has it on its list just now."""
        ...

    async def renew(self) -> None:
        """Open it anew in place of the old one.

        Raises:
            transport.errors.BrokerDown: not yet.
            transport.errors.Closed: it is not needed any more.
        """
        ...


class Watchdog:
    """Looks after links from its making until `stop`. Must be made where the loop runs."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._links: dict[Link, float] = {}
        self._checked_at = self._loop.time()
        self._task = asyncio.create_task(self._run(), name="pulsar-watchdog")

    def watch(self, link: Link) -> None:
        """Look after a link."""
        self._links[link] = self._loop.time()

    def forget(self, link: Link) -> None:
        """Leave it alone."""
        self._links.pop(link, None)

    async def stop(self) -> None:
        """Leave all alone; what is being renewed is given up."""
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_EVERY)
            await self._renew(self._overdue())

    def _overdue(self) -> list[Link]:
        """Links that have been away for too long, as far as anybody looked: a function may have been frozen."""
        now = self._loop.time()
        was_frozen = now - self._checked_at > AWAY
        self._checked_at = now
        for link in self._links:
            if was_frozen or link.connected:
                self._links[link] = now
        return [link for link, seen in self._links.items() if now - seen > AWAY]

    async def _renew(self, links: list[Link]) -> None:
        if not links:
            return
        done = await asyncio.gather(*(link.renew() for link in links), return_exceptions=True)
        failed = [end for end in done if isinstance(end, Exception) and not isinstance(end, Closed)]
        if failed:
            log.warning(Event.BROKER_AWAY, error=failed[0])
        self._checked_at = self._loop.time()
