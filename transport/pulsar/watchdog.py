"""Connection watchdog: reopens producers and consumers whose connection stays down.

The client reconnects by itself with a growing backoff, up to a minute. After an outage of some minutes a worker would
stay idle for up to a minute although the broker is up again. So a producer or consumer that is disconnected for some
seconds is reopened; the client retries a new one with short pauses.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from telemetry import logs
from telemetry.events import Event
from transport.errors import Closed

__all__ = ["AWAY", "Link", "Watchdog"]

AWAY: Final = 5.0
"""Seconds without a connection after which a link is renewed; long enough for the client's first retries."""
_CHECK_EVERY: Final = 1.0

log = logs.get(__name__)


class Link(Protocol):
    """A producer or a consumer."""

    @property
    def connected(self) -> bool:
        """True while the link is registered with the broker."""
        ...

    async def renew(self) -> None:
        """Replace the client's producer or consumer with a new one.

        Raises:
            transport.errors.BrokerDown: the broker is still unreachable.
            transport.errors.Closed: the link was closed.
        """
        ...


class Watchdog:
    """Renews watched links from construction until `stop`. Construct it inside a running event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._links: dict[Link, float] = {}
        self._checked_at = self._loop.time()
        self._task = asyncio.create_task(self._run(), name="pulsar-watchdog")

    def watch(self, link: Link) -> None:
        """Start watching a link."""
        self._links[link] = self._loop.time()

    def forget(self, link: Link) -> None:
        """Stop watching a link."""
        self._links.pop(link, None)

    async def stop(self) -> None:
        """Stop watching all links; cancels renewals under way."""
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_EVERY)
            await self._renew(self._overdue())

    def _overdue(self) -> list[Link]:
        """Return links that were disconnected for too long, not counting time during which this process was frozen."""
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
