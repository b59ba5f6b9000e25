"""The broker port: the interface that every broker adapter implements.

Retry, backoff and dead letters are not broker features here. The engine publishes the copy (or the dead letter), waits
for the receipt and only then acks the original. So a broker needs few operations, and every adapter passes
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
"""Function from the name of a variable to its current value, or to "" if it is not set."""


class Delivery(msgspec.Struct, frozen=True):
    """A message delivered to a consumer."""

    message_id: str
    """Id of the stored message; a redelivery has the same id."""
    topic: str
    payload: bytes
    holder_died: bool = False
    """True if every process that received the message earlier is known to have ended, so none of them still works on
    it."""


class Backlog(msgspec.Struct, frozen=True):
    """Unacked messages of a topic for one subscription."""

    ready: int
    """Messages that are due and held by no consumer."""
    delayed: int
    """Messages not due yet."""
    in_flight: int
    """Messages delivered to a consumer and not acked."""
    oldest_age: float
    """Seconds since the oldest ready message became due; 0.0 when none waits."""

    @property
    def depth(self) -> int:
        """All messages not acked."""
        return self.ready + self.delayed + self.in_flight


class Capabilities(msgspec.Struct, frozen=True):
    """Optional features of a broker. The conformance tests check what each adapter declares."""

    survives_restart: bool
    """Confirmed messages outlive the process that published them."""
    shared_between_processes: bool
    """Several processes may consume one topic."""
    exact_backlog: bool
    """`backlog` is exact and immediate. If false, it is an estimate that lags."""
    knows_dead_holders: bool
    """The broker sets `Delivery.holder_died` after a process was killed. If false, it never sets it, and an earlier
    holder may still be alive."""


class Consumer(Protocol):
    """Member of a subscription; it receives messages of one or more topics."""

    @property
    def connected(self) -> bool:
        """True while the broker can deliver to this consumer; false while the connection is down."""
        ...

    async def receive(self) -> Delivery:
        """Wait for the next due message of any of the topics.

        Cancelling the call loses no message.

        Raises:
            transport.errors.Closed: the consumer was closed.
            transport.errors.BrokerDown: the broker is unreachable; call again later.
        """
        ...

    async def ack(self, delivery: Delivery) -> None:
        """Mark a message as done: it is never delivered again.

        A second ack, or an ack after a redelivery to another consumer, is harmless.

        Raises:
            transport.errors.Closed: the consumer was closed and the message released.
            transport.errors.BrokerDown: the broker is unreachable; the message may be delivered again.
        """
        ...

    async def release(self, delivery: Delivery) -> None:
        """Return a message that was not started, so that another consumer can receive it at once."""
        ...

    async def close(self) -> None:
        """Flush acks, release all unacked messages and end every `receive`. A second close is harmless."""
        ...


@runtime_checkable
class Broker(Protocol):
    """A connection to a broker, opened by `transport.open_broker`."""

    @property
    def capabilities(self) -> Capabilities:
        """Optional features of this broker."""
        ...

    async def publish(self, topic: str, payload: bytes, *, delay: float = 0.0) -> str:
        """Store a message and return its id after the broker has confirmed it.

        Args:
            topic: a name of `messages.topics`; the broker creates the topic at first use.
            payload: at most `messages.codec.MAX_MESSAGE_BYTES` bytes.
            delay: seconds to wait before the message may be delivered.

        Raises:
            messages.errors.MessageTooLarge: over the limit; nothing was stored.
            transport.errors.BrokerDown: no receipt arrived; the message may or may not be stored.
            transport.errors.Closed: the broker was closed.
        """
        ...

    async def subscribe(self, topics: Sequence[str], subscription: str, *, prefetch: int = 1) -> Consumer:
        """Join a shared subscription on every given topic. Each message goes to one member; order is not guaranteed.

        A new subscription starts with the oldest message still stored on the topic.

        Args:
            topics: at least one.
            subscription: `workers`, or `failure` on dead-letter topics.
            prefetch: messages fetched ahead of `receive`. Keep it small, so that a second worker gets work at once. 0
                fetches a message only when `receive` is called.

        Raises:
            ValueError: no topic, an empty subscription, or a negative prefetch.
        """
        ...

    async def backlog(self, topic: str, subscription: str) -> Backlog:
        """Count the unacked messages of the topic for the subscription."""
        ...

    async def close(self) -> None:
        """Close every consumer, flush and disconnect. A second close is harmless."""
        ...


class Clock(StrEnum):
    """Clock by which a broker measures delays."""

    MACHINE = "machine"
    """The local clock: the broker runs on this machine."""
    SERVER = "server"
    """The clock of a server. The local clock may differ, so ages are computed from the object store's time."""


class BrokerCheck(msgspec.Struct, frozen=True):
    """A check that `doctor` runs against the broker of a deployment."""

    name: str
    run: Callable[[Broker, Sequence[Topic]], Awaitable[str]]
    """Checks the broker and the topics it must carry.

    Returns a line that describes the result; raises a `messages.errors.ScfWorkersError` if the check fails.
    """
    remedy: str
    """Advice for the operator if the check fails."""
    needs: str = ""
    """Name of the check that must pass first."""


class BrokerOptions(Protocol):
    """Options of an adapter; each adapter defines its own struct."""

    clock: ClassVar[Clock]
    """Clock by which its brokers measure delays."""
    remedy: ClassVar[str]
    """Advice for the operator if the broker cannot be used."""

    @property
    def url(self) -> str:
        """URL of the broker."""
        ...

    @property
    def address(self) -> str:
        """URL to connect to where reachability is all that can be checked; empty if a backlog can be read."""
        ...

    @classmethod
    def read(cls, url: str, variables: Variables) -> Self:
        """Read the options from the URL and the environment.

        Raises:
            transport.errors.BadBrokerUrl: the URL or a variable is invalid; the text names the remedy.
        """
        ...

    async def open(self, clock: Callable[[], float]) -> Broker:
        """Open the broker; see `transport.open_broker`."""
        ...

    def checks(self) -> Sequence[BrokerCheck]:
        """List the checks that `doctor` runs against this broker."""
        ...
