"""Producer of one topic that survives the loss of its connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Self

from transport.errors import BrokerDown, Closed
from transport.pulsar.native import NativeProducer

__all__ = ["ReconnectingProducer"]


class ReconnectingProducer:
    """Publishes on one topic; `renew` replaces the native producer. Use `ReconnectingProducer.open`.

    Args:
        producer: the first native producer.
        make: opens another native producer.
        limit: seconds to wait for a message's receipt, renewals included.
    """

    def __init__(self, producer: NativeProducer, make: Callable[[], Awaitable[NativeProducer]], limit: float) -> None:
        self._producer: NativeProducer | None = producer
        self._make = make
        self._limit = limit
        self._unconfirmed = asyncio.Semaphore(NativeProducer.MAX_PENDING)
        self._usable = asyncio.Event()
        self._usable.set()
        self._closed = False

    @classmethod
    async def open(cls, make: Callable[[], Awaitable[NativeProducer]], limit: float) -> Self:
        """Open the first native producer.

        Raises:
            transport.errors.BrokerDown: the broker did not open the producer.
        """
        return cls(await make(), make, limit)

    @property
    def connected(self) -> bool:
        """True while the native producer is registered with the broker; see `transport.pulsar.watchdog.Link`."""
        return self._producer is not None and self._producer.connected

    async def send(self, payload: bytes, due: float | None) -> str:
        """Send a message, wait for its receipt and return its id. Waits while too many messages are unconfirmed.

        Raises:
            transport.errors.BrokerDown: no receipt arrived in time.
            transport.errors.Closed: the producer was closed.
        """
        try:
            async with asyncio.timeout(self._limit):
                return await self._send(payload, due)
        except TimeoutError as error:
            raise BrokerDown(f"no receipt from the broker in {self._limit:g} s") from error

    async def _send(self, payload: bytes, due: float | None) -> str:
        tried = False
        while True:
            await self._usable.wait()
            await self._unconfirmed.acquire()
            producer = self._producer
            if self._closed or producer is None:
                self._unconfirmed.release()
                if self._closed:
                    if tried:
                        raise BrokerDown("the producer was closed before a receipt arrived")
                    raise Closed("the producer is closed")
                continue
            tried = True
            try:
                # The receipt releases the semaphore, not this task: the task may be cancelled before.
                return await producer.send(payload, due, self._unconfirmed.release)
            except Closed:
                if producer is self._producer and not self._closed:
                    raise
                # A renewal is under way: send again. If the first send was stored, the message is now stored twice.

    async def renew(self) -> None:
        """Replace the native producer. The old one is closed first, or it might reconnect and send its messages too."""
        if self.connected:
            return
        self._usable.clear()
        await self.drop()
        fresh = await self._make()
        if self._closed:
            await fresh.close()
            return
        self._producer = fresh
        self._usable.set()

    async def drop(self) -> None:
        """Close the native producer; unconfirmed messages are sent again by the next one."""
        old, self._producer = self._producer, None
        if old is not None:
            with suppress(BrokerDown, Closed):  # no connection, or closed already: the broker cleans up by itself
                await old.close()

    def close(self) -> None:
        """Accept no further message; messages already sent still get their receipt."""
        self._closed = True
        self._usable.set()
