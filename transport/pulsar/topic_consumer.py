"""Receives from one topic for one consumer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

from telemetry import logs
from telemetry.events import Event
from transport.errors import BrokerDown, Closed
from transport.pulsar.native import Arrival, NativeConsumer

__all__ = ["TopicConsumer"]

log = logs.get(__name__)


class TopicConsumer:
    """A native consumer, replaced when its connection stays away.

    Args:
        topic: as the port names it.
        consumer: the first one.
        make: makes another, with a queue of so many messages.
        queue: of the first one.
        arrived: takes what comes; None when the connection's replacement made the client forget a request.
    """

    def __init__(
        self,
        topic: str,
        consumer: NativeConsumer,
        make: Callable[[int], Awaitable[NativeConsumer]],
        queue: int,
        arrived: Callable[[TopicConsumer, Arrival | None], None],
    ) -> None:
        self.topic = topic
        self.pending = 0
        """Requests under way. None can be called off, so none is made that is not wanted."""
        self._use(consumer)
        self._make = make
        self._queue = queue
        self._drops_batched = False
        self._arrived = arrived
        self._closed = False

    def _use(self, consumer: NativeConsumer) -> None:
        self._consumer = consumer
        self._receive = consumer.receiver(partial(self._on_arrival, consumer))

    @property
    def connected(self) -> bool:
        """As `Link` says. One that must be renewed for another reason says no, too."""
        return self._consumer.connected and not self._drops_batched

    def request(self) -> None:
        """Request one message; what the client holds already arrives before this returns."""
        self.pending += 1
        self._receive()

    def _on_arrival(self, consumer: NativeConsumer, arrival: Arrival | None) -> None:
        if consumer is not self._consumer or self._closed:
            return  # The broker delivers it again: that consumer is gone.
        self.pending -= 1
        if arrival is None:
            return
        if arrival.batched and not self._queue:
            # We send no batches; whoever does must not have all but the first message of each lie here for ever.
            self._queue, self._drops_batched = 1, True
            log.warning(Event.BATCHES_FOUND, topic=self.topic)
        self._arrived(self, arrival)

    async def ack(self, message: Any) -> None:  # noqa: ANN401 - an untyped library's
        """The message is done, whichever connection it came by.

        Raises:
            transport.errors.Closed: the topic_consumer was closed.
        """
        while True:
            consumer = self._consumer
            try:
                return await consumer.ack(message)
            except Closed:
                if consumer is self._consumer:
                    raise

    def ack_again(self, message: Any) -> None:  # noqa: ANN401 - an untyped library's
        """As `ack`, for a message that was acked before and came again."""
        self._consumer.ack_again(message)

    def release(self, message: Any) -> None:  # noqa: ANN401 - an untyped library's
        """Give a message back."""
        self._consumer.release(message)

    async def renew(self) -> None:
        """As `Link` says. What the old one held comes again, and acks go by ids, which stay."""
        queue = self._queue
        fresh = await self._make(queue)
        if self._closed or self.connected:
            await fresh.close()
            return
        old = self._consumer
        self._use(fresh)
        # A batch may have come while the fresh one was made.
        self._drops_batched = queue != self._queue
        self.pending = 0
        self._arrived(self, None)
        with suppress(BrokerDown, Closed):  # it has no connection anyway
            await old.close()

    async def close(self) -> None:
        """Send acks, leave, give back everything unacked.

        Raises:
            transport.errors.BrokerDown: the broker did not answer; it notices by itself.
        """
        self._closed = True
        with suppress(Closed):  # twice is harmless
            await self._consumer.close()
