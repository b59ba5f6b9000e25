"""Wrapper of pulsar-client; the only module that imports it.

The client's asynchronous calls take a callback, which runs in one of the client's threads, or during the call when the
answer is available. The package's own `pulsar.asyncio` wakes the loop for every callback, loses a message whose
`receive` was cancelled, and raises in the client's thread when the loop is closed, which ends the process. So this
module calls the handles below it: `subscribe_async`, `create_producer_async`, `receive_async`, `send_async`,
`acknowledge_async`, `close_async`.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

from messages.errors import ScfWorkersError
from telemetry import logs
from telemetry.events import Event
from transport.pulsar.clientlog import log_file
from transport.pulsar.failures import failure
from transport.pulsar.options import PulsarOptions

__all__ = ["DUE", "Arrival", "NativeClient", "NativeConsumer", "NativeProducer", "Wakeups"]

DUE: Final = "due"
"""Message property: due time of a delayed message in milliseconds since the epoch. Consumers detect early delivery
by it."""

_MILLIS_DIGITS: Final = 15

_OK: Final = 0
"""Value of the result Ok; comparing by value takes half the time of comparing by name."""

_PENDING: Final = 1000
"""Unconfirmed messages allowed per topic. `ReconnectingProducer` enforces it, so the client's queue never fills."""

log = logs.get(__name__)


class Wakeups:
    """Runs calls from the client's threads on the loop, and wakes the loop once for many calls.

    Construct it in the loop's thread.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._calls: deque[Callable[[], None]] = deque()
        self._woken = False

    def call(self, what: Callable[..., None], *arguments: object) -> None:
        """Run a function on the loop: at once if this is the loop's thread, else soon."""
        if threading.get_ident() == self._thread:
            what(*arguments)
            return
        self._calls.append(partial(what, *arguments))
        if self._woken:
            return
        self._woken = True
        try:
            self._loop.call_soon_threadsafe(self._run)
        except RuntimeError:
            # The loop is closed, so no task waits; an exception in the client's thread would end the process.
            self._calls.clear()

    async def ask(self, start: Callable[..., None], *arguments: object, doing: str) -> Any:  # noqa: ANN401 - the library is untyped
        """Start an asynchronous call of the client and wait for its result.

        Raises:
            messages.errors.ScfWorkersError: the call failed; translated by `transport.pulsar.failures`.
        """
        answer = _Answer(doing)
        start(*arguments, partial(self.call, answer.came))
        return await answer.wait()

    def _run(self) -> None:
        # Reset before the calls run: a call appended from here on wakes the loop again.
        self._woken = False
        while self._calls:
            call = self._calls.popleft()
            try:
                call()
            except Exception as error:  # noqa: BLE001 - the calls behind it must still run now
                self._loop.call_exception_handler(
                    {"message": "a callback of the Pulsar client failed", "exception": error}
                )


class _Answer:
    """Result of an asynchronous call. Many calls complete before they return; then no future is needed."""

    __slots__ = ("_doing", "_future", "_has_come", "_result", "_value")

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._future: asyncio.Future[None] | None = None
        self._has_come = False

    def came(self, result: Any, value: object = None) -> None:  # noqa: ANN401 - the library is untyped
        """Store the result of the call and its value."""
        self._result, self._value = result, value
        self._has_come = True
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def wait(self) -> Any:  # noqa: ANN401 - the library is untyped
        """Wait for the value.

        Raises:
            messages.errors.ScfWorkersError: the call failed.
        """
        if not self._has_come:
            self._future = asyncio.get_running_loop().create_future()
            await self._future
        if self._result.value != _OK:
            raise failure(self._result, self._doing)
        return self._value


class NativeClient:
    """A pulsar-client: the connections and threads for all topics.

    The constructor reads files and starts threads: call it outside the loop's thread.

    Args:
        options: URL, token and time-outs.
        wakeups: runs callbacks on the loop that uses the client.

    Raises:
        transport.errors.BadBrokerUrl: the client rejects the URL.
    """

    def __init__(self, options: PulsarOptions, wakeups: Wakeups) -> None:
        import pulsar

        self._library: Any = pulsar
        self._options = options
        self._wakeups = wakeups
        try:
            client: Any = pulsar.Client(
                options.url,
                authentication=pulsar.AuthenticationToken(_never_raising(options.token)) if options.token else None,
                operation_timeout_seconds=options.operation_timeout,
                tls_trust_certs_file_path=options.tls_ca or None,
                tls_validate_hostname=True,
                stats_interval_in_seconds=0,
                logger=pulsar.FileLogger(pulsar.LoggerLevel.Warn, log_file()),
            )
        except (pulsar.PulsarException, ValueError) as error:
            raise failure(error, f"opening {options.url}") from error
        self._handle: Any = client._client  # noqa: SLF001 - the handle has the asynchronous calls
        _keep_until_exit(self._handle)
        self._pid = os.getpid()
        atexit.register(self._at_exit)

    async def partitions(self, topic: str) -> list[str]:
        """Return the full names of a topic's partitions, or its own full name if it has none.

        Raises:
            transport.errors.BrokerDown: the broker did not answer the lookup.
        """
        path = self._options.path(topic)
        found = await self._wakeups.ask(self._handle.get_topic_partitions_async, path, doing=f"looking up {topic}")
        return [str(name) for name in found]

    async def consumer(self, path: str, subscription: str, queue: int) -> NativeConsumer:
        """Join a Shared subscription, the only type for which TDMQ supports delayed messages.

        Args:
            path: full name of a topic without partitions.
            subscription: created if it does not exist, starting with the oldest message.
            queue: messages that the client fetches ahead. With 0 it fetches one for each request, but delivers only
                the first message of a batch.

        Raises:
            transport.errors.BrokerDown: the broker did not accept the subscription.
        """
        import _pulsar

        settings: Any = _pulsar.ConsumerConfiguration()
        settings.consumer_type(_pulsar.ConsumerType.Shared)
        settings.receiver_queue_size(queue)
        settings.negative_ack_redelivery_delay_ms(0)
        settings.subscription_initial_position(_pulsar.InitialPosition.Earliest)
        doing = f"subscribing {subscription} to {path}"
        handle = await self._wakeups.ask(self._handle.subscribe_async, path, subscription, settings, doing=doing)
        return NativeConsumer(handle, self._wakeups, doing)

    async def producer(self, topic: str) -> NativeProducer:
        """Open a producer for a topic.

        Batching is off: a batch is delivered and released only as a whole, regardless of the consumer's prefetch. The
        producer's queue never fills, because `ReconnectingProducer` limits the unconfirmed messages.

        Raises:
            transport.errors.BrokerDown: the broker did not open the producer.
        """
        import _pulsar

        settings: Any = _pulsar.ProducerConfiguration()
        settings.batching_enabled(False)  # noqa: FBT003 - the library's signature
        settings.send_timeout_millis(int(self._options.send_timeout * 1000))
        settings.max_pending_messages(_PENDING)
        settings.block_if_queue_full(False)  # noqa: FBT003 - the library's signature
        doing = f"publishing on {topic}"
        path = self._options.path(topic)
        handle = await self._wakeups.ask(self._handle.create_producer_async, path, settings, doing=doing)
        return NativeProducer(handle, self._wakeups, doing)

    def close(self) -> None:
        """Close all connections and wait for the client's threads. Blocks: call it outside the loop's thread.

        Only the blocking close is safe. With `close_async` the process could exit while the client's thread is still in
        the callback and needs the interpreter: a segmentation fault in about one exit of thirty. For the same reason a
        client that is still open is closed when the process exits.

        Raises:
            transport.errors.BrokerDown: the close failed; the connection is dropped.
            transport.errors.Closed: the client was closed before.
        """
        atexit.unregister(self._at_exit)
        try:
            self._handle.close()
        except self._library.PulsarException as error:
            raise failure(error, "closing") from error

    def _at_exit(self) -> None:
        # A forked child has none of the client's threads: only the process that opened it closes it.
        if os.getpid() == self._pid:
            with suppress(ScfWorkersError):
                self.close()


class Arrival:
    """A received message: the client's handle, and the fields that the adapter needs."""

    __slots__ = ("batched", "due", "handle", "message_id", "payload")

    def __init__(self, message: Any) -> None:  # noqa: ANN401 - the library is untyped
        found = message.message_id()
        batch = found.batch_index()
        self.handle: Any = message
        """The client's message, used to ack; acking by id takes twice as long."""
        self.batched = batch >= 0
        """True if the message is part of a batch."""
        self.message_id = _name(found, batch)
        self.payload: bytes = message.data()
        due = message.properties().get(DUE)
        self.due = _seconds(due) if due else 0.0


class NativeConsumer:
    """The client's consumer of one topic."""

    def __init__(self, handle: Any, wakeups: Wakeups, doing: str) -> None:  # noqa: ANN401 - the library is untyped
        self._handle = handle
        self._wakeups = wakeups
        self._doing = doing

    @property
    def connected(self) -> bool:
        """True while the consumer is registered with the broker."""
        return bool(self._handle.is_connected())

    def receiver(self, then: Callable[[Arrival | None], None]) -> Callable[[], None]:
        """Return a function that requests one message.

        A request cannot be cancelled. A message that the client has already fetched arrives before the request returns.

        Args:
            then: called on the loop with the message, or with None if the request failed.
        """
        return partial(self._handle.receive_async, partial(self._wakeups.call, _hand_over, then))

    def ack(self, message: Any) -> Awaitable[None]:  # noqa: ANN401 - the library is untyped
        """Ack a message. The client collects acks for about 100 ms and does not report when the broker has stored them.

        Raises:
            transport.errors.Closed: the consumer was closed.
        """
        return self._wakeups.ask(self._handle.acknowledge_async, message, doing=self._doing)

    def ack_again(self, message: Any) -> None:  # noqa: ANN401 - the library is untyped
        """Ack a redelivered message without waiting. If this ack is lost too, the message is delivered again."""
        self._handle.acknowledge_async(message, _ignore)

    def release(self, message: Any) -> None:  # noqa: ANN401 - the library is untyped
        """Release a message; the broker redelivers it, to any consumer, after about 100 ms."""
        self._handle.negative_acknowledge(message)

    async def close(self) -> None:
        """Send the collected acks, leave the subscription and release all unacked messages.

        Raises:
            transport.errors.BrokerDown: the broker did not answer.
            transport.errors.Closed: the consumer was closed before.
        """
        await self._wakeups.ask(self._handle.close_async, doing=self._doing)


class NativeProducer:
    """The client's producer of one topic."""

    MAX_PENDING: Final = _PENDING

    def __init__(self, handle: Any, wakeups: Wakeups, doing: str) -> None:  # noqa: ANN401 - the library is untyped
        import _pulsar

        self._library: Any = _pulsar
        self._handle = handle
        self._wakeups = wakeups
        self._doing = doing

    @property
    def connected(self) -> bool:
        """True while the producer is registered with the broker."""
        return bool(self._handle.is_connected())

    async def send(self, payload: bytes, due: float | None, released: Callable[[], None]) -> str:
        """Send a message, wait for its receipt and return its id.

        Args:
            payload: bytes of the message.
            due: earliest delivery, in seconds since the epoch.
            released: called on the loop when the client no longer holds the message, even if this call was cancelled.

        Raises:
            transport.errors.BrokerDown: no receipt arrived.
            transport.errors.Closed: the producer was closed; the message may be stored nevertheless.
        """
        message = self._library.MessageBuilder()
        message.content(payload)
        if due is not None:
            at = int(due * 1000) + 1
            message.deliver_at(at)
            message.property(DUE, str(at))
        sent = _Answer(self._doing)

        def receipt(result: object, message_id: object) -> None:
            released()
            sent.came(result, message_id)

        self._handle.send_async(message.build(), partial(self._wakeups.call, receipt))
        stored = await sent.wait()
        return _name(stored, stored.batch_index())

    async def close(self) -> None:
        """Close the producer; unconfirmed sends fail.

        Raises:
            transport.errors.BrokerDown: the broker did not answer.
            transport.errors.Closed: the producer was closed before.
        """
        await self._wakeups.ask(self._handle.close_async, doing=self._doing)


def _seconds(due: str) -> float:
    """Parse the property `due` into seconds; a malformed value, written by another program, means due at once."""
    return int(due) / 1000 if due.isascii() and due.isdigit() and len(due) <= _MILLIS_DIGITS else 0.0


def _keep_until_exit(handle: object) -> None:
    """Keep a client's Python object, some kilobytes, until the process exits.

    Otherwise one of the client's threads may drop the last reference. It then frees our token supplier, which needs the
    interpreter; during process exit the interpreter is gone, and the thread aborts the process.
    """
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(handle))


def _hand_over(then: Callable[[Arrival | None], None], result: Any, message: object) -> None:  # noqa: ANN401 - the library is untyped
    then(Arrival(message) if result.value == _OK else None)


def _ignore(result: object) -> None:
    """Ignore the result of a call."""


def _name(found: Any, batch: int) -> str:  # noqa: ANN401 - the library is untyped
    """Format a message id, the same for publisher and deliveries. Unique: no two topics share a BookKeeper ledger."""
    entry = f"{found.ledger_id()}:{found.entry_id()}"
    return entry if batch < 0 else f"{entry}:{batch}"


def _never_raising(token: Callable[[], str]) -> Callable[[], str]:
    """Wrap a token supplier so that it never raises: an exception in the client's threads would end the process."""
    last = ""

    def supply() -> str:
        nonlocal last
        try:
            last = token()
        except Exception as error:  # noqa: BLE001 - whatever the error, the last token may still be valid
            log.warning(Event.TOKEN_STALE, error=error)
        return last

    return supply
