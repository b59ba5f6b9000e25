"""A consumer over several topics that takes from them by weight, and holds no message for long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from consumers.runners.dispatcher import HOLD_S, give_back
from consumers.runners.round_robin import WeightedRoundRobin
from messages.errors import ScfWorkersError
from transport.errors import Closed
from transport.port import Consumer, Delivery

__all__ = ["SETTLE_S", "WeightedConsumer"]

SETTLE_S: Final = 0.01
"""Seconds after which a topic without an answer counts as empty, and another one has its turn."""


class WeightedConsumer:
    """A consumer (see `transport.port`) that asks each topic for one message at a time.

    Args:
        consumers: topic -> its consumer, which fetches nothing ahead.
        weights: topic -> weight.
    """

    def __init__(self, consumers: Mapping[str, Consumer], weights: Mapping[str, int]) -> None:
        self._consumers = dict(consumers)
        self._round_robin = WeightedRoundRobin(weights)
        self._loop = asyncio.get_running_loop()
        self._at_hand: dict[str, Delivery] = {}
        self._asks: dict[str, asyncio.Task[None]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._changed = asyncio.Event()
        self._failed: ScfWorkersError | None = None
        self._returns: set[asyncio.Task[None]] = set()
        self._settled: set[str] = set()
        """Topics that hold a message, or had enough time to deliver one."""
        self._closed = False

    @property
    def connected(self) -> bool:
        """True if every topic can deliver messages now."""
        return all(consumer.connected for consumer in self._consumers.values())

    async def receive(self) -> Delivery:
        """Return the next message, of the topic whose turn it is; see the port.

        Raises:
            transport.errors.Closed: it was closed.
            transport.errors.BrokerDown: the broker is down; ask again later.
        """
        while not self._at_hand or not self._settled.issuperset(self._consumers):
            if self._closed:
                raise Closed("the consumer is closed")
            if self._failed is not None:
                failed, self._failed = self._failed, None
                raise failed
            self._ask()
            self._changed.clear()
            await self._changed.wait()
        return self._take(self._round_robin.pick(self._at_hand))

    async def ack(self, delivery: Delivery) -> None:
        """See the port."""
        await self._consumers[delivery.topic].ack(delivery)

    async def release(self, delivery: Delivery) -> None:
        """See the port."""
        await self._consumers[delivery.topic].release(delivery)

    async def close(self) -> None:
        """Release the held messages, and end every `receive`; see the port."""
        self._closed = True
        self._changed.set()
        for timer in self._timers.values():
            timer.cancel()
        waiting = [*self._asks.values(), *self._returns]
        for ask in self._asks.values():
            ask.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        self._at_hand.clear()
        ends = await asyncio.gather(*(each.close() for each in self._consumers.values()), return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException):
                raise end

    def _ask(self) -> None:
        """Ask every topic that has neither a held message nor a pending request."""
        for topic in self._consumers:
            if topic not in self._at_hand and topic not in self._asks:
                self._asks[topic] = asyncio.create_task(self._fetch(topic), name=f"ask {topic}")
                self._set_timer(topic, SETTLE_S, self._settle)

    def _set_timer(self, topic: str, seconds: float, then: Callable[[str], None]) -> None:
        """Set a topic's timer: until it counts as empty, or until its message is released."""
        if topic in self._timers:
            self._timers[topic].cancel()
        self._timers[topic] = self._loop.call_later(seconds, then, topic)

    def _settle(self, topic: str) -> None:
        """Note that `receive` need not wait for a topic any longer before it chooses."""
        self._settled.add(topic)
        self._changed.set()

    def _take(self, topic: str) -> Delivery:
        """Take the message that a topic holds; `receive` then waits for the topic again."""
        self._timers[topic].cancel()
        self._settled.discard(topic)
        return self._at_hand.pop(topic)

    async def _fetch(self, topic: str) -> None:
        try:
            delivery = await self._consumers[topic].receive()
        except ScfWorkersError as error:
            self._failed = error
        else:
            self._at_hand[topic] = delivery
            self._set_timer(topic, HOLD_S, self._overdue)
        finally:
            del self._asks[topic]
            self._settle(topic)

    def _overdue(self, topic: str) -> None:
        """Release a message for which no permit was free here: another worker may take it."""
        task = asyncio.create_task(give_back(self._take(topic), self), name=f"give back {topic}")
        self._returns.add(task)
        task.add_done_callback(self._returns.discard)
