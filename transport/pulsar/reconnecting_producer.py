"""Publishes on one topic."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Self

from transport.errors import BrokerDown, Closed
from transport.pulsar.native import NativeProducer

__all__ = ["ReconnectingProducer"]


class ReconnectingProducer:
    """A producer, replaced when its connection stays away. Made by `ReconnectingProducer.open`.

    Args:
        producer: the first one.
        make: makes another.
        limit: seconds a message may wait for its receipt, whatever happens meanwhile.
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
        """Open it.

        Raises:
            transport.errors.BrokerDown: the broker did not let us in.
        """
        return cls(await make(), make, limit)

    @property
    def connected(self) -> bool:
        """As `Link` says."""
        return self._producer is not None and self._producer.connected

    async def send(self, payload: bytes, due: float | None) -> str:
        """Send one message and wait for its receipt; the message's id. Waits its turn while too many are under way.

        Raises:
            transport.errors.BrokerDown: no receipt came.
            transport.errors.Closed: it was closed.
        """
        try:
            async with asyncio.timeout(self._limit):
                return await self._send(payload, due)
        except TimeoutError as error:
            raise BrokerDown(f"no receipt in {self._limit:g} s") from error

    async def _send(self, payload: bytes, due: float | None) -> str:
        tried = False
        while True:
            await self._usable.wait()
            await self._unconfirmed.acquire()
            producer = self._producer
            if self._closed or producer is None:
                self._unconfirmed.release()
                if self._closed:
                    raise BrokerDown("the broker was closed before a receipt came") if tried else Closed("it is closed")
                continue
            tried = True
            try:
                # The place is given back with the receipt, not by whoever waits for it: it may have been cancelled.
                return await producer.send(payload, due, self._unconfirmed.release)
            except Closed:
                if producer is self._producer and not self._closed:
                    raise
                # It is being renewed. If the old one had the message stored, there are two now, and none is lost.

    async def renew(self) -> None:
        """As `Link` says. The old one goes first, else it might come back and send everything too."""
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
        """Close the producer; what it had not confirmed waits for the next one."""
        old, self._producer = self._producer, None
        if old is not None:
            with suppress(BrokerDown, Closed):  # it has no connection, or the broker notices by itself
                await old.close()

    def close(self) -> None:
        """Let nobody in any more; those inside get their receipt."""
        self._closed = True
        self._usable.set()
