"""Consumer of one topic (or partition) that survives the loss of its connection."""

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
    """Receives from one topic or partition; `renew` replaces the native consumer.

    Args:
        topic: the topic's name at the port.
        consumer: the first native consumer.
        make: opens another native consumer with a given queue size.
        queue: queue size of the first native consumer, in messages.
        arrived: called with each message; with None after a renewal, which dropped the requests under way.
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
        """Requests under way. A request cannot be cancelled, so request only messages that are wanted."""
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
        """True while registered with the broker; false also when it must be renewed because of batches (see `Link`)."""
        return self._consumer.connected and not self._drops_batched

    def request(self) -> None:
        """Request one message. If the client holds one already, it arrives before this returns."""
        self.pending += 1
        self._receive()

    def _on_arrival(self, consumer: NativeConsumer, arrival: Arrival | None) -> None:
        if consumer is not self._consumer or self._closed:
            return  # From a replaced or closed consumer: the broker delivers the message again.
        self.pending -= 1
        if arrival is None:
            return
        if arrival.batched and not self._queue:
            # Another program sends batches. With a queue of 0 the client would never deliver their other messages.
            self._queue, self._drops_batched = 1, True
            log.warning(Event.BATCHES_FOUND, topic=self.topic)
        self._arrived(self, arrival)

    async def ack(self, message: Any) -> None:  # noqa: ANN401 - the library is untyped
        """Ack a message, also one that arrived before a renewal.

        Raises:
            transport.errors.Closed: the consumer was closed.
        """
        while True:
            consumer = self._consumer
            try:
                return await consumer.ack(message)
            except Closed:
                if consumer is self._consumer:
                    raise

    def ack_again(self, message: Any) -> None:  # noqa: ANN401 - the library is untyped
        """Ack a message that was acked before and was delivered again; does not wait."""
        self._consumer.ack_again(message)

    def release(self, message: Any) -> None:  # noqa: ANN401 - the library is untyped
        """Return a message to the broker for redelivery."""
        self._consumer.release(message)

    async def renew(self) -> None:
        """Replace the native consumer.

        Its unacked messages are delivered again under the same ids, so acks of earlier deliveries stay valid.
        """
        queue = self._queue
        fresh = await self._make(queue)
        if self._closed or self.connected:
            await fresh.close()
            return
        old = self._consumer
        self._use(fresh)
        # A batch may have arrived while the new consumer was opened.
        self._drops_batched = queue != self._queue
        self.pending = 0
        self._arrived(self, None)
        with suppress(BrokerDown, Closed):  # the old consumer has no connection
            await old.close()

    async def close(self) -> None:
        """Send pending acks, leave the subscription and release all unacked messages. A second close is harmless.

        Raises:
            transport.errors.BrokerDown: the broker did not answer; it releases the messages by itself.
        """
        self._closed = True
        with suppress(Closed):
            await self._consumer.close()
