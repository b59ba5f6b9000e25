"""A broker in memory that hands out messages in the order of a Pulsar Shared subscription, for simulations.

Released messages and delayed ones that have become due come first, by their place in the topic, and then new ones.
Due times are checked once a second, as `delayedDeliveryTickTimeMillis` has it.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from transport.errors import Closed
from transport.port import Backlog, Capabilities, Consumer, Delivery

__all__ = ["PulsarOrder"]

_TICK_S: Final = 1.0


class _Queue:
    """Messages of a topic that no consumer holds."""

    def __init__(self) -> None:
        self.replay: list[tuple[int, Delivery]] = []
        self.new: list[tuple[int, Delivery]] = []
        self.delayed: list[tuple[float, int, Delivery]] = []

    def take(self, now: float) -> tuple[int, Delivery] | None:
        """Return the next message."""
        while self.delayed and math.ceil(self.delayed[0][0] / _TICK_S) * _TICK_S <= now:
            _, place, delivery = heapq.heappop(self.delayed)
            heapq.heappush(self.replay, (place, delivery))
        for line in (self.replay, self.new):
            if line:
                return heapq.heappop(line)
        return None


class PulsarOrder:
    """A broker; see `transport.port`. Must be used where the loop runs."""

    capabilities = Capabilities(
        survives_restart=False, shared_between_processes=False, exact_backlog=True, knows_dead_holders=False
    )

    def __init__(self) -> None:
        self._places = itertools.count(1)
        self.queues: defaultdict[str, _Queue] = defaultdict(_Queue)
        self.waiters: list[asyncio.Future[None]] = []

    async def publish(self, topic: str, payload: bytes, *, delay: float = 0.0) -> str:
        """See the port."""
        place = next(self._places)
        delivery, queue, loop = Delivery(str(place), topic, payload), self.queues[topic], asyncio.get_running_loop()
        if delay:
            due = loop.time() + delay
            heapq.heappush(queue.delayed, (due, place, delivery))
            loop.call_at(math.ceil(due / _TICK_S) * _TICK_S, self.wake)
        else:
            heapq.heappush(queue.new, (place, delivery))
            self.wake()
        return delivery.message_id

    async def subscribe(self, topics: Sequence[str], subscription: str, *, prefetch: int = 1) -> Consumer:
        """See the port. Nothing is fetched ahead."""
        del subscription, prefetch
        return _Consumer(self, topics)

    async def backlog(self, topic: str, subscription: str) -> Backlog:
        """See the port."""
        del subscription
        queue = self.queues[topic]
        return Backlog(len(queue.replay) + len(queue.new), len(queue.delayed), 0, 0.0)

    async def close(self) -> None:
        """Nothing to drop."""

    def wake(self) -> None:
        """Let every consumer look again."""
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class _Consumer:
    connected = True

    def __init__(self, broker: PulsarOrder, topics: Sequence[str]) -> None:
        self._broker = broker
        self._topics = topics
        self._held: dict[str, int] = {}
        self._closed = False

    async def receive(self) -> Delivery:
        while not self._closed:
            for topic in self._topics:
                taken = self._broker.queues[topic].take(asyncio.get_running_loop().time())
                if taken is not None:
                    self._held[taken[1].message_id] = taken[0]
                    return taken[1]
            waiter = asyncio.get_running_loop().create_future()
            self._broker.waiters.append(waiter)
            await waiter
        raise Closed("the consumer is closed")

    async def ack(self, delivery: Delivery) -> None:
        self._held.pop(delivery.message_id, None)

    async def release(self, delivery: Delivery) -> None:
        place = self._held.pop(delivery.message_id, None)
        if place is not None:
            heapq.heappush(self._broker.queues[delivery.topic].replay, (place, delivery))
            self._broker.wake()

    async def close(self) -> None:
        self._closed = True
        self._broker.wake()
