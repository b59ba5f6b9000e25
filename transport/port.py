"""The broker port: how messages travel, on one screen.

Retry, backoff and dead letters are no broker features here: the engine publishes the copy (or the dead letter), waits
for the receipt and only then acks the original. So a broker needs five verbs, and every adapter passes
`tests/conformance`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import ClassVar, Protocol, Self, runtime_checkable

import msgspec

from messages.topics import Topic

__all__ = [
    "Backlog",
    "Broker",
    "BrokerCheck",
    "BrokerOptions",
    "Capabilities",
    "Clock",
    "Consumer",
    "Delivery",
    "Variables",
]

Variables = Callable[[str], str]
"""Name of a variable -> its value as it is now; empty where it is not set."""


class Delivery(msgspec.Struct, frozen=True):
    """One message handed to one consumer."""

    message_id: str
    """Stable over redelivery: the same stored message always has the same id."""
    topic: str
    payload: bytes
    holder_died: bool = False
    """Every process that was handed it before is known to have ended: what one of them began, none of them works on."""


class Backlog(msgspec.Struct, frozen=True):
    """What waits on a topic for one subscription."""

    ready: int
    """Messages due and held by nobody."""
    delayed: int
    """Messages not due yet."""
    in_flight: int
    """Messages handed to a consumer and not acked."""
    oldest_age: float
    """Seconds since the oldest ready message became due; 0.0 when none waits."""

    @property
    def depth(self) -> int:
        """All messages not acked."""
        return self.ready + self.delayed + self.in_flight


class Capabilities(msgspec.Struct, frozen=True):
    """What a broker cannot do is said here and has a test of its own; nothing is skipped silently."""

    survives_restart: bool
    """Confirmed messages outlive the process that published them."""
    shared_between_processes: bool
    """Several processes may consume one topic."""
    exact_backlog: bool
    """`backlog` counts exactly, at once; else it is an estimate that lags."""
    knows_dead_holders: bool
    """`Delivery.holder_died` is set where a process was killed; else it is never set, and a holder may live still."""


class Consumer(Protocol):
    """Deliveries of some topics to one member of a subscription."""

    @property
    def connected(self) -> bool:
        """Whether a message published now would come here, if it is asked for: false while the broker is away."""
        ...

    async def receive(self) -> Delivery:
        """Wait for the next due message, of any of the topics.

        Cancelling the call loses nothing.

        Raises:
            transport.errors.Closed: the consumer was closed.
            transport.errors.BrokerDown: the broker is away; ask again later.
        """
        ...

    async def ack(self, delivery: Delivery) -> None:
        """The message is done: never deliver it again. Acking twice, or after a redelivery elsewhere, is harmless.

        Raises:
            transport.errors.Closed: the consumer was closed, and the message given back.
            transport.errors.BrokerDown: the broker is away; the message may be delivered again.
        """
        ...

    async def release(self, delivery: Delivery) -> None:
        """Give back at once what was not begun: another consumer may have it now."""
        ...

    async def close(self) -> None:
        """Flush acks, give back everything unacked, and end every `receive`. Closing twice is harmless."""
        ...


@runtime_checkable
class Broker(Protocol):
    """One connection to a broker. Opened by `transport.open_broker`."""

    @property
    def capabilities(self) -> Capabilities:
        """What this broker can do."""
        ...

    async def publish(self, topic: str, payload: bytes, *, delay: float = 0.0) -> str:
        """Store one message and return its id once the broker has confirmed it.

        Args:
            topic: a name of `messages.topics`; it comes into being at first use.
            payload: at most `messages.codec.MAX_MESSAGE_BYTES` bytes.
            delay: seconds before which it must not be delivered.

        Raises:
            messages.errors.MessageTooLarge: over the limit; nothing was stored.
            transport.errors.BrokerDown: no receipt came; it may or may not be stored.
            transport.errors.Closed: the broker was closed.
        """
        ...

    async def subscribe(self, topics: Sequence[str], subscription: str, *, prefetch: int = 1) -> Consumer:
        """Join a shared subscription on every topic given. A message goes to one member; no order is promised.

        A subscription that did not exist begins with the oldest message still stored on the topic.

        Args:
            topics: at least one.
            subscription: `workers`, or `failure` on dead-letter topics.
            prefetch: messages held ahead of `receive`; keep it small, so that a second worker gets work at once. 0
                takes one only when asked.

        Raises:
            ValueError: no topic, an empty subscription, or a negative prefetch.
        """
        ...

    async def backlog(self, topic: str, subscription: str) -> Backlog:
        """What waits on the topic for the subscription."""
        ...

    async def close(self) -> None:
        """Close every consumer, flush, disconnect. Closing twice is harmless."""
        ...


class Clock(StrEnum):
    """Whose clock a broker counts delays by."""

    MACHINE = "machine"
    """This machine's: the broker is part of it."""
    SERVER = "server"
    """A server's: this machine's clock may be wrong, so ages are counted by the time of the object store."""


class BrokerCheck(msgspec.Struct, frozen=True):
    """One thing to examine about a broker of a deployment."""

    name: str
    run: Callable[[Broker, Sequence[Topic]], Awaitable[str]]
    """Examines a broker that is to carry a table of topics.

    Returns what it saw; raises a `messages.errors.ScfWorkersError` when something is wrong.
    """
    remedy: str
    """What to do when it fails."""


class BrokerOptions(Protocol):
    """What one adapter is opened with: each adapter has a struct of its own."""

    clock: ClassVar[Clock]
    """Whose clock its brokers count delays by."""
    remedy: ClassVar[str]
    """What to look at when the broker cannot be used."""

    @property
    def url(self) -> str:
        """Names the broker."""
        ...

    @classmethod
    def read(cls, url: str, variables: Variables) -> Self:
        """The options in an environment.

        Raises:
            transport.errors.BadBrokerUrl: the URL or a variable cannot be used; the text names the remedy.
        """
        ...

    async def open(self, clock: Callable[[], float]) -> Broker:
        """Open the broker; see `transport.open_broker`."""
        ...

    def checks(self) -> Sequence[BrokerCheck]:
        """What a deployment should have examined about it."""
        ...
