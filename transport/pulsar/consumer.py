"""Consumer port on Pulsar: `PulsarConsumer`."""

from __future__ import annotations

import asyncio
import math
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from transport.errors import Closed
from transport.port import Delivery
from transport.pulsar.native import Arrival
from transport.pulsar.topic_consumer import TopicConsumer

__all__ = ["PulsarConsumer"]

_EARLY_KEPT: Final = 5.0
"""Seconds: a message delivered early by less than this is kept until it is due. A broker delivers up to a tick early, a
second by default. A larger difference comes from another clock: it is delivered at once; the engine checks again."""

_REMEMBERED: Final = 8192
"""Number of acks remembered: a broker that crashes loses its latest acks and delivers those messages again."""
_FORGOTTEN: Final = 600.0
"""Seconds for which an ack is remembered: a broker whose storage was wiped issues the same ids again."""

_MAX_EARLY: Final = 64
"""Early messages kept at most; when the limit is reached, no more are requested until one is due."""


class PulsarConsumer:
    """A topic consumer for each topic and partition, and a common queue. Made by `PulsarBroker.subscribe`.

    Args:
        clock: returns the wall time in seconds.
        prefetch: messages that the client fetches ahead for each topic consumer.
        check_process: raises in a forked child.
        on_close: called when the consumer is closed.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        prefetch: int,
        check_process: Callable[[], None],
        on_close: Callable[[PulsarConsumer], None],
    ) -> None:
        self._clock = clock
        self._prefetch = prefetch
        self._check_process = check_process
        self._on_close = on_close
        self._topic_consumers: deque[TopicConsumer] = deque()
        self._ready: deque[Delivery] = deque()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._held: dict[str, tuple[TopicConsumer, Arrival]] = {}
        self._acked: OrderedDict[str, float] = OrderedDict()
        self._early: dict[str, asyncio.TimerHandle] = {}
        self._waiting = 0
        self._requesting = False
        self._no_prefetch = False
        self._closed = False
        self._close_lock = asyncio.Lock()

    def add(self, topic_consumer: TopicConsumer) -> None:
        """Add a topic consumer; only before the first `receive`."""
        self._topic_consumers.append(topic_consumer)

    @property
    def topic_consumers(self) -> Sequence[TopicConsumer]:
        """Its topic consumers."""
        return tuple(self._topic_consumers)

    @property
    def connected(self) -> bool:
        """True while every topic consumer is connected."""
        return all(topic_consumer.connected for topic_consumer in self._topic_consumers)

    @property
    def held(self) -> Mapping[str, int]:
        """Number of delivered, unacked messages of each topic."""
        return Counter(topic_consumer.topic for topic_consumer, _ in self._held.values())

    async def receive(self) -> Delivery:
        """Wait for the next due message; see the port.

        Raises:
            transport.errors.Closed: the consumer or the broker was closed.
            transport.errors.Forked: another process opened the broker.
        """
        self._check_process()
        self._no_prefetch = False
        self._waiting += 1
        try:
            self._request()
            while not self._ready:
                if self._closed:
                    raise Closed("the consumer is closed")
                await self._wait_for_ready()
        finally:
            self._waiting -= 1
        return self._ready.popleft()

    async def ack(self, delivery: Delivery) -> None:
        """Ack a message; the client sends the ack within about 100 ms, and at the latest in `close`.

        Raises:
            transport.errors.Closed: the consumer was closed and has released the message.
            transport.errors.Forked: another process opened the broker.
        """
        self._check_process()
        if self._closed:
            raise Closed("the consumer is closed")
        held = self._held.pop(delivery.message_id, None)
        if held is None:
            return
        self._acked[delivery.message_id] = self._clock()
        if len(self._acked) > _REMEMBERED:
            self._acked.popitem(last=False)
        topic_consumer, arrival = held
        await topic_consumer.ack(arrival.handle)

    async def release(self, delivery: Delivery) -> None:
        """Release a message. Until the next `receive`, every other arriving message is released too.

        Raises:
            transport.errors.Forked: another process opened the broker.
        """
        self._check_process()
        if self._closed:
            return
        self._no_prefetch = True
        self._give_back(delivery.message_id)
        while self._ready:
            self._give_back(self._ready.popleft().message_id)
        self._request()

    async def close(self) -> None:
        """Flush acks, release all unacked messages and end every `receive`; see the port.

        Raises:
            transport.errors.BrokerDown: the broker did not answer; it releases the messages by itself.
        """
        self.stop()
        self._on_close(self)
        async with self._close_lock:
            closing = (topic_consumer.close() for topic_consumer in self._topic_consumers)
            for end in await asyncio.gather(*closing, return_exceptions=True):
                if isinstance(end, BaseException):
                    raise end

    def stop(self) -> None:
        """End every `receive`."""
        if self._closed:
            return
        self._closed = True
        for timer in self._early.values():
            timer.cancel()
        self._ready.clear()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def arrived(self, topic_consumer: TopicConsumer, arrival: Arrival | None) -> None:
        """Accept a message of a topic consumer; None means only that its requests were dropped."""
        if arrival is not None and not self._closed:
            self._take(topic_consumer, arrival)
        if not self._requesting:
            self._request()

    def _take(self, topic_consumer: TopicConsumer, arrival: Arrival) -> None:
        message_id = arrival.message_id
        if self._clock() - self._acked.get(message_id, -math.inf) < _FORGOTTEN:
            topic_consumer.ack_again(arrival.handle)
        elif message_id in self._held:
            # Redelivered while held here: keep the newest handle. Acks for a batch count only by its newest ids.
            self._held[message_id] = (topic_consumer, arrival)
        else:
            self._held[message_id] = (topic_consumer, arrival)
            early = arrival.due - self._clock() if arrival.due else 0.0
            if 0 < early < _EARLY_KEPT:
                timer = asyncio.get_running_loop().call_later(early, self._is_due, message_id)
                self._early[message_id] = timer
            elif self._no_prefetch and self._unserved() <= 0:
                self._give_back(message_id)
            else:
                self._put(message_id, topic_consumer, arrival)

    def _is_due(self, message_id: str) -> None:
        """Queue a message that arrived early, or release it if no `receive` waits."""
        del self._early[message_id]
        if self._unserved() <= 0:
            self._give_back(message_id)
        elif message_id in self._held:
            self._put(message_id, *self._held[message_id])
        self._request()

    def _give_back(self, message_id: str) -> None:
        held = self._held.pop(message_id, None)
        if held is not None:
            held[0].release(held[1].handle)

    def _request(self) -> None:
        """Request messages for the waiting calls from every topic consumer, starting with a different one each time.

        With a prefetch, the client delivers the messages it holds during the request. So one open request is enough,
        and a busy topic wakes the loop once for many messages.
        """
        if self._requesting or self._closed:
            return
        self._requesting = True  # messages that the client holds arrive during the request
        try:
            self._topic_consumers.rotate(-1)
            for topic_consumer in tuple(self._topic_consumers):
                while topic_consumer.pending < self._wanted():
                    topic_consumer.request()
        finally:
            self._requesting = False

    def _wanted(self) -> int:
        """Return the number of requests that each topic consumer should have under way."""
        if len(self._early) >= _MAX_EARLY:
            return 0
        if not self._prefetch:
            return self._unserved()
        # A client with a prefetch fetches also while no `receive` waits: request what it holds, to release it.
        return 1 if self._no_prefetch or self._unserved() > 0 else 0

    def _unserved(self) -> int:
        """Return the number of waiting `receive` calls without a queued message."""
        return self._waiting - len(self._ready)

    def _put(self, message_id: str, topic_consumer: TopicConsumer, arrival: Arrival) -> None:
        self._ready.append(Delivery(message_id, topic_consumer.topic, arrival.payload))
        self._wake_one()

    async def _wait_for_ready(self) -> None:
        """Wait for a message in `_ready`. An `asyncio.Queue` would take as much CPU time as the client itself."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                with suppress(ValueError):
                    self._waiters.remove(waiter)
            else:
                self._wake_one()  # this waiter was already woken: pass the wake-up on
            raise

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
