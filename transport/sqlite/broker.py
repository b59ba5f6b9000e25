"""Broker port on SQLite: `SqliteBroker` and `SqliteConsumer`."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Self

from messages.codec import MAX_MESSAGE_BYTES
from messages.errors import MessageTooLarge
from transport.errors import BrokerDown, Closed
from transport.port import Backlog, Capabilities, Delivery
from transport.sqlite.clocks import Clocks, machine_clocks
from transport.sqlite.delivery import DeliveryLoop, Runner
from transport.sqlite.peers import NoPeers, Peers
from transport.sqlite.store import MEMORY, Lease, Store

__all__ = ["SqliteBroker", "SqliteConsumer"]

_LEASE: Final = 60.0
_BUSY_TIMEOUT: Final = 10.0


class SqliteBroker:
    """A broker in a SQLite file. Use `SqliteBroker.open`."""

    def __init__(self, delivery: DeliveryLoop, peers: NoPeers, clocks: Clocks, *, private: bool) -> None:
        self._delivery = delivery
        self._peers = peers
        self._clocks = clocks
        self._private = private

    @classmethod
    async def open(
        cls,
        path: str,
        *,
        clock: Callable[[], float] = time.time,
        clocks: Clocks | None = None,
        lease: float = _LEASE,
        busy_timeout: float = _BUSY_TIMEOUT,
    ) -> Self:
        """Open a broker file; creates it (readable by its owner only) and its folder if missing.

        Args:
            path: absolute path on a local disk, or `:memory:`.
            clock: returns the wall time in seconds; due times are restored from it after a reboot.
            clocks: replaces `clock` and the machine's clocks. By default `:memory:` uses the loop's clock.
            lease: seconds after which a hanging process loses its messages. A process that dies loses them at once. A
                process that is stopped during a commit keeps the file locked until it continues or dies.
            busy_timeout: seconds to wait for other processes that write.

        Raises:
            transport.errors.BadBrokerUrl: the path is not usable, or holds another file or schema.
            transport.errors.BrokerDown: the disk failed, or another process keeps the file locked.
        """
        private = path == MEMORY
        runner = Runner(threaded=not private)
        try:
            if clocks is None:
                loop = asyncio.get_running_loop()
                clocks = Clocks(clock, loop.time, "") if private else await runner.run(lambda: machine_clocks(clock))
            opening = partial(Store.open, path, now=clocks.read(), busy_timeout=busy_timeout)
            store = await runner.run(opening)
            peers = NoPeers() if private else await runner.run(lambda: _peers_beside(path, lease))
        except BaseException as error:
            runner.close()
            if isinstance(error, sqlite3.Error):
                raise BrokerDown(f"the broker file {path} cannot be opened: {error}") from error
            raise
        return cls(DeliveryLoop(store, runner, peers, clocks.steady), peers, clocks, private=private)

    @property
    def capabilities(self) -> Capabilities:
        """A file is shared and durable; `:memory:` is neither."""
        file = not self._private
        return Capabilities(
            survives_restart=file, shared_between_processes=file, exact_backlog=True, knows_dead_holders=file
        )

    async def publish(self, topic: str, payload: bytes, *, delay: float = 0.0) -> str:
        """Store a message and return its id after the commit; see the port."""
        if len(payload) > MAX_MESSAGE_BYTES:
            raise MessageTooLarge(f"a message of {len(payload)} bytes for {topic}: the limit is {MAX_MESSAGE_BYTES}")
        now, wait = self._clocks.read(), max(delay, 0.0)
        return await self._delivery.submit(
            lambda store: store.publish(topic, payload, now.steady + wait, now.wall + wait),
        )

    async def subscribe(self, topics: Sequence[str], subscription: str, *, prefetch: int = 1) -> SqliteConsumer:
        """Join a subscription; see the port. Prefetching starts with the first `receive`.

        Raises:
            ValueError: no topic, no subscription name, or a negative prefetch.
            transport.errors.Closed: the broker was closed.
            transport.errors.BrokerDown: the file failed.
        """
        if not topics or not subscription or prefetch < 0:
            raise ValueError("a consumer needs a topic, the name of a subscription and a prefetch of at least 0")
        entered = asyncio.get_running_loop().time()
        queues = await self._delivery.submit(lambda store: self._join(store, topics, subscription, entered))
        consumer = SqliteConsumer(self._delivery, queues, prefetch)
        self._delivery.add(consumer)
        return consumer

    def _join(self, store: Store, topics: Sequence[str], subscription: str, now: float) -> dict[int, str]:
        """Register as a holder before the first claim, so that peers notice our death. Runs in the store's thread."""
        self._peers.maintain(store, now)
        return store.subscribe(topics, subscription)

    async def backlog(self, topic: str, subscription: str) -> Backlog:
        """Count exactly; see the port. Messages of dead processes are released first. A prefetched one is in flight."""
        now = asyncio.get_running_loop().time()
        if await self._delivery.submit(self._peers.dead, write=False):
            await self._delivery.submit(lambda store: self._peers.reclaim(store, now))
        steady = self._clocks.steady()
        return await self._delivery.submit(lambda store: store.backlog(topic, subscription, steady), write=False)

    async def close(self) -> None:
        """Release all unacked messages, end every `receive` and close the file; see the port.

        Raises:
            transport.errors.BrokerDown: the file failed; peers release our messages.
        """
        self._delivery.stop()
        await self._delivery.finished()


def _peers_beside(path: str, lease: float) -> Peers:
    """Return the peers of a file. The resolved path makes them the same for every alias of the file."""
    return Peers(Path(f"{Path(path).resolve()}.peers"), secrets.token_hex(8), lease)


class SqliteConsumer:
    """A member of a subscription, made by `SqliteBroker.subscribe`; also the `Member` of the delivery loop."""

    def __init__(self, delivery: DeliveryLoop, queues: Mapping[int, str], prefetch: int) -> None:
        self._delivery = delivery
        self._topics = queues
        self._order = deque(queues)
        self._prefetch = prefetch
        self._held: dict[str, int] = {}
        self._buffer: asyncio.Queue[Delivery | BrokerDown | Closed] = asyncio.Queue()
        self._no_prefetch = True
        self._closed = False
        self._failed = False
        self._waiting = 0

    @property
    def connected(self) -> bool:
        """True while the consumer is open and the last access to the file succeeded."""
        return not self._closed and not self._failed

    async def receive(self) -> Delivery:
        """Wait for the next due message; see the port.

        Raises:
            transport.errors.Closed: the consumer or the broker was closed.
            transport.errors.BrokerDown: the file failed; the next call tries again.
        """
        if self._closed:
            raise Closed("the consumer is closed")
        self._no_prefetch = False
        self._waiting += 1
        # A buffered message may belong to another call that was woken but has not run yet.
        if self._waiting > self._buffer.qsize() or self._buffer.qsize() * 2 <= self._prefetch:
            self._delivery.wake()
        try:
            item = await self._buffer.get()
        finally:
            self._waiting -= 1
        if isinstance(item, Delivery):
            return item
        if isinstance(item, Closed):
            self._buffer.put_nowait(Closed(str(item)))
        raise item

    async def ack(self, delivery: Delivery) -> None:
        """Delete a message; returns after the commit.

        Raises:
            transport.errors.Closed: the consumer was closed and has released the message.
            transport.errors.BrokerDown: the file failed; ack again.
        """
        if self._closed:
            raise Closed("the consumer is closed")
        row = self._held.get(delivery.message_id)
        if row is not None:
            await self._delivery.submit(lambda store: store.ack(row))
            self._held.pop(delivery.message_id, None)

    async def release(self, delivery: Delivery) -> None:
        """Release a message; returns after the commit. Prefetching stops until the next `receive`.

        Raises:
            transport.errors.BrokerDown: the file failed; release again.
        """
        if self._closed:
            # `close` releases all held messages, including this one.
            return
        row = self._held.pop(delivery.message_id, None)
        if row is None:
            return
        # Otherwise this consumer would prefetch the released message again.
        self._no_prefetch = True
        try:
            await self._delivery.submit(lambda store: store.release((row,), self._delivery.holder))
        except BrokerDown:
            self._held.setdefault(delivery.message_id, row)
            raise

    async def close(self) -> None:
        """Release all unacked messages and end every `receive`; returns after the commit.

        Raises:
            transport.errors.BrokerDown: the file failed; the messages stay held until the broker is closed.
        """
        if self._closed:
            return
        self.stop()
        self._delivery.remove(self)
        # Read `_held` inside the request: a claim under way reaches `deliver` before the request runs.
        await self._delivery.submit(lambda store: store.release(tuple(self._held.values()), self._delivery.holder))

    @property
    def queues(self) -> Sequence[int]:
        """See `Member`."""
        return tuple(self._order)

    @property
    def waiting(self) -> int:
        """See `Member`."""
        return self._waiting

    @property
    def wanted(self) -> int:
        """See `Member`."""
        if self._closed:
            return 0
        return self._waiting + (0 if self._no_prefetch else self._prefetch) - self._buffer.qsize()

    def deliver(self, leases: Sequence[Lease]) -> None:
        """See `Member`. A closed consumer only records the messages, so that `close` releases them."""
        self._failed = False
        for lease in leases:
            self._held[lease.message_id] = lease.row
            if not self._closed:
                self._buffer.put_nowait(self._delivery_of(lease))
        if leases:
            self._order.rotate(-1 - self._order.index(leases[-1].queue))

    def _delivery_of(self, lease: Lease) -> Delivery:
        return Delivery(lease.message_id, self._topics[lease.queue], lease.payload, lease.holder_died)

    def fail(self, reason: str) -> None:
        """See `Member`. Prefetching stops until the next `receive`."""
        self._no_prefetch = self._failed = True
        for _ in range(self._waiting - self._buffer.qsize()):
            self._buffer.put_nowait(BrokerDown(reason))

    def drop_prefetched(self) -> list[int]:
        """See `Member`."""
        rows = [self._held.pop(delivery.message_id, None) for delivery in self._drain()]
        return [row for row in rows if row is not None]

    def stop(self) -> None:
        """See `Member`."""
        if not self._closed:
            self._closed = True
            self._drain()
            self._buffer.put_nowait(Closed("the consumer is closed"))

    def _drain(self) -> list[Delivery]:
        """Empty the buffer and return the messages in it."""
        items = [self._buffer.get_nowait() for _ in range(self._buffer.qsize())]
        return [item for item in items if isinstance(item, Delivery)]
