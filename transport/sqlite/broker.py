"""The port's face of the embedded broker: `SqliteBroker` and its consumers."""

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
    """A broker in one file. Made by `SqliteBroker.open`."""

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
        """Open a file, creating it (readable by its owner only) and its folders if need be.

        Args:
            path: absolute, on a local disk; or `:memory:`.
            clock: wall time in seconds: due times are kept by it over a reboot.
            clocks: all the clocks, in place of this machine's and `clock`. Those of `:memory:` are the loop's.
            lease: seconds after which a process that hangs loses its messages. One that dies loses them at once; one
                that is stopped within a commit keeps the file locked until it goes on or dies.
            busy_timeout: seconds to wait for other processes that write.

        Raises:
            transport.errors.BadBrokerUrl: no broker file of this build can lie there.
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
                raise BrokerDown(f"the broker file {path} does not open: {error}") from error
            raise
        return cls(DeliveryLoop(store, runner, peers, clocks.steady), peers, clocks, private=private)

    @property
    def capabilities(self) -> Capabilities:
        """A file is shared and stays; `:memory:` is private and goes."""
        kept = not self._private
        return Capabilities(
            survives_restart=kept, shared_between_processes=kept, exact_backlog=True, knows_dead_holders=kept
        )

    async def publish(self, topic: str, payload: bytes, *, delay: float = 0.0) -> str:
        """Store one message and return its id after the commit; see the port."""
        if len(payload) > MAX_MESSAGE_BYTES:
            raise MessageTooLarge(f"a message of {len(payload)} bytes for {topic}: the limit is {MAX_MESSAGE_BYTES}")
        now, wait = self._clocks.read(), max(delay, 0.0)
        return await self._delivery.submit(
            lambda store: store.publish(topic, payload, now.steady + wait, now.wall + wait),
        )

    async def subscribe(self, topics: Sequence[str], subscription: str, *, prefetch: int = 1) -> SqliteConsumer:
        """Join a subscription; see the port. Nothing is fetched ahead before the first `receive`.

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
        """In the store's thread: become a holder, whose death others notice, before the first claim."""
        self._peers.maintain(store, now)
        return store.subscribe(topics, subscription)

    async def backlog(self, topic: str, subscription: str) -> Backlog:
        """Exact figures; what a process that died held is given back first. A message fetched ahead is in flight."""
        now = asyncio.get_running_loop().time()
        if await self._delivery.submit(self._peers.dead, write=False):
            await self._delivery.submit(lambda store: self._peers.reclaim(store, now))
        steady = self._clocks.steady()
        return await self._delivery.submit(lambda store: store.backlog(topic, subscription, steady), write=False)

    async def close(self) -> None:
        """Give back everything unacked, end every `receive`, close the file; see the port.

        Raises:
            transport.errors.BrokerDown: the file failed; others give back what we held.
        """
        self._delivery.stop()
        await self._delivery.finished()


def _peers_beside(path: str, lease: float) -> Peers:
    """The neighbours on a file, whatever name it was opened by."""
    return Peers(Path(f"{Path(path).resolve()}.peers"), secrets.token_hex(8), lease)


class SqliteConsumer:
    """One member of a subscription. Made by `SqliteBroker.subscribe`."""

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
        """Whether it is open, and the file did not fail the last time."""
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
        # What is at hand may have come for another call that has not run yet.
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
        """Remove a message for good; returns after the commit.

        Raises:
            transport.errors.Closed: the consumer was closed, and has given the message back.
            transport.errors.BrokerDown: the file failed; ack again.
        """
        if self._closed:
            raise Closed("the consumer is closed")
        row = self._held.get(delivery.message_id)
        if row is not None:
            await self._delivery.submit(lambda store: store.ack(row))
            self._held.pop(delivery.message_id, None)

    async def release(self, delivery: Delivery) -> None:
        """Give a message back; returns after the commit. Nothing more is fetched ahead until the next `receive`.

        Raises:
            transport.errors.BrokerDown: the file failed; release again.
        """
        row = self._held.pop(delivery.message_id, None)
        if row is None or self._closed:
            return
        # Else this consumer, having room again, would take back what another should have.
        self._no_prefetch = True
        try:
            await self._delivery.submit(lambda store: store.release((row,), self._delivery.holder))
        except BrokerDown:
            self._held.setdefault(delivery.message_id, row)
            raise

    async def close(self) -> None:
        """Give back everything unacked and end every `receive`; returns after the commit.

        Raises:
            transport.errors.BrokerDown: the file failed; what was held stays held until the broker is closed.
        """
        if self._closed:
            return
        self.stop()
        self._delivery.remove(self)
        # What is held is looked up only then: a claim may be under way, and comes to `feed` before this runs.
        await self._delivery.submit(lambda store: store.release(tuple(self._held.values()), self._delivery.holder))

    @property
    def queues(self) -> Sequence[int]:
        """As `Member` says."""
        return tuple(self._order)

    @property
    def waiting(self) -> int:
        """As `Member` says."""
        return self._waiting

    @property
    def wanted(self) -> int:
        """As `Member` says."""
        if self._closed:
            return 0
        return self._waiting + (0 if self._no_prefetch else self._prefetch) - self._buffer.qsize()

    def deliver(self, leases: Sequence[Lease]) -> None:
        """As `Member` says. One that was closed meanwhile only notes what it has to give back."""
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
        """As `Member` says. Nothing more is fetched ahead until the next `receive`."""
        self._no_prefetch = self._failed = True
        for _ in range(self._waiting - self._buffer.qsize()):
            self._buffer.put_nowait(BrokerDown(reason))

    def drop_prefetched(self) -> list[int]:
        """As `Member` says."""
        rows = [self._held.pop(delivery.message_id, None) for delivery in self._drain()]
        return [row for row in rows if row is not None]

    def stop(self) -> None:
        """As `Member` says."""
        if not self._closed:
            self._closed = True
            self._drain()
            self._buffer.put_nowait(Closed("the consumer is closed"))

    def _drain(self) -> list[Delivery]:
        """Take back what was not handed out."""
        items = [self._buffer.get_nowait() for _ in range(self._buffer.qsize())]
        return [item for item in items if isinstance(item, Delivery)]
