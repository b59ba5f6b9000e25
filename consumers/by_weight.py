"""One consumer over several topics that takes from them by weight, and holds nothing back from others for long."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from consumers.turns import Turns
from messages.errors import ScfWorkersError
from telemetry import logs
from telemetry.events import Event
from transport.errors import Closed
from transport.port import Consumer, Delivery

__all__ = ["HOLD_S", "SETTLE_S", "ByWeight"]

SETTLE_S: Final = 0.01
"""Seconds that the first message to come waits for those of other topics: only then can be said whose turn it is."""

HOLD_S: Final = 1.0
"""Seconds that a message is held while everybody here is busy; then it goes back, for another worker to have."""

log = logs.get(__name__)


class ByWeight:
    """A consumer (see `transport.port`) that asks each topic for one message at a time.

    Args:
        consumers: topic -> its consumer, which fetches nothing ahead.
        weights: topic -> weight.
        hold: see `HOLD_S`.
    """

    def __init__(self, consumers: Mapping[str, Consumer], weights: Mapping[str, int], *, hold: float = HOLD_S) -> None:
        self._consumers = dict(consumers)
        self._turns = Turns(weights)
        self._hold = hold
        self._at_hand: dict[str, Delivery] = {}
        self._asks: dict[str, asyncio.Task[None]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._changed = asyncio.Event()
        self._failed: ScfWorkersError | None = None
        self._returns: set[asyncio.Task[None]] = set()
        self._waiting = 0
        self._closed = False

    @property
    def connected(self) -> bool:
        """Whether every topic can bring messages just now."""
        return all(consumer.connected for consumer in self._consumers.values())

    async def receive(self) -> Delivery:
        """The next message, of the topic whose turn it is; see the port.

        Raises:
            transport.errors.Closed: it was closed.
            transport.errors.BrokerDown: the broker is away; ask again later.
        """
        self._waiting += 1
        try:
            if not self._at_hand:
                await self._settle()
            while not self._at_hand:
                await self._wait()
            return self._take()
        finally:
            self._waiting -= 1

    async def ack(self, delivery: Delivery) -> None:
        """See the port."""
        await self._consumers[delivery.topic].ack(delivery)

    async def release(self, delivery: Delivery) -> None:
        """See the port."""
        await self._consumers[delivery.topic].release(delivery)

    async def close(self) -> None:
        """Give back what is at hand, and end every `receive`; see the port."""
        self._closed = True
        self._changed.set()
        for timer in self._timers.values():
            timer.cancel()
        waiting = [*self._asks.values(), *self._returns]
        for ask in self._asks.values():
            ask.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        self._at_hand.clear()
        await asyncio.gather(*(consumer.close() for consumer in self._consumers.values()))

    async def _settle(self) -> None:
        await self._wait()
        if len(self._at_hand) < len(self._consumers):
            await asyncio.sleep(SETTLE_S)

    async def _wait(self) -> None:
        """Return when a message is at hand."""
        while not self._at_hand:
            if self._closed:
                raise Closed("the consumer is closed")
            if self._failed is not None:
                failed, self._failed = self._failed, None
                raise failed
            self._changed.clear()
            self._ask()
            await self._changed.wait()

    def _take(self) -> Delivery:
        topic = self._turns.pick(self._at_hand)
        delivery = self._at_hand.pop(topic)
        self._timers.pop(topic).cancel()
        if self._waiting > 1:
            self._ask()
        return delivery

    def _ask(self) -> None:
        """Ask every topic that has neither a message at hand nor a question under way."""
        for topic in self._consumers:
            if topic not in self._at_hand and topic not in self._asks:
                self._asks[topic] = asyncio.create_task(self._fetch(topic), name=f"ask {topic}")

    async def _fetch(self, topic: str) -> None:
        try:
            delivery = await self._consumers[topic].receive()
        except ScfWorkersError as error:
            self._failed = error
        else:
            self._at_hand[topic] = delivery
            self._timers[topic] = asyncio.get_running_loop().call_later(self._hold, self._overdue, topic)
        finally:
            del self._asks[topic]
            self._changed.set()

    def _overdue(self, topic: str) -> None:
        """Nobody here had room for it: let another worker have it."""
        delivery = self._at_hand.pop(topic)
        del self._timers[topic]
        task = asyncio.create_task(self._give_back(delivery), name=f"give back {topic}")
        self._returns.add(task)
        task.add_done_callback(self._returns.discard)

    async def _give_back(self, delivery: Delivery) -> None:
        try:
            await self.release(delivery)
        except ScfWorkersError as error:
            log.warning(Event.BROKER_AWAY, error=error, topic=delivery.topic)
        else:
            log.debug(Event.MESSAGE_RELEASED, topic=delivery.topic, message_id=delivery.message_id)
