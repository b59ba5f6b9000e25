"""The one module that touches pulsar-client.

Its asynchronous calls take a callback that comes from one of its threads, or at once when the answer is at hand. The
package's own `pulsar.asyncio` wakes the loop for each of them, forgets a message whose `receive` was cancelled, and
raises in the client's thread, which ends the process, when the loop is gone. So the calls are made here, on the handles
below it: `subscribe_async`, `create_producer_async`, `receive_async`, `send_async`, `acknowledge_async`, `close_async`.
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
"""Property of a delayed message: milliseconds since the epoch. Brokers may deliver early; consumers see it by this."""

_MILLIS_DIGITS: Final = 15

_OK: Final = 0
"""A result's value; its name takes twice as long."""

_PENDING: Final = 1000
"""Unconfirmed messages allowed per topic. `ReconnectingProducer` enforces it, so the client's queue never fills."""

log = logs.get(__name__)


class Wakeups:
    """Brings calls from the client's threads to the loop, and wakes it once for many of them.

    Must be made where the loop runs.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._calls: deque[Callable[[], None]] = deque()
        self._woken = False

    def call(self, what: Callable[..., None], *arguments: object) -> None:
        """Call something on the loop: at once if this is the loop's thread, else soon."""
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
            # The loop is closed: nobody waits any more, and an exception here would end the process.
            self._calls.clear()

    async def ask(self, start: Callable[..., None], *arguments: object, doing: str) -> Any:  # noqa: ANN401 - an untyped library's
        """Start an asynchronous call of the client's and wait for its end: its value, or our error."""
        answer = _Answer(doing)
        start(*arguments, partial(self.call, answer.came))
        return await answer.wait()

    def _run(self) -> None:
        # Before the calls: what is appended from here on wakes the loop again.
        self._woken = False
        while self._calls:
            call = self._calls.popleft()
            try:
                call()
            except Exception as error:  # noqa: BLE001 - the calls behind it must not wait for the next one to come
                self._loop.call_exception_handler(
                    {"message": "a call of the Pulsar client's failed", "exception": error}
                )


class _Answer:
    """What a call brings. Many bring it before they return, and then there is no future to wait for."""

    __slots__ = ("_doing", "_future", "_has_come", "_result", "_value")

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._future: asyncio.Future[None] | None = None
        self._has_come = False

    def came(self, result: Any, value: object = None) -> None:  # noqa: ANN401 - an untyped library's
        """The call has ended, with this value if the result is good."""
        self._result, self._value = result, value
        self._has_come = True
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def wait(self) -> Any:  # noqa: ANN401 - an untyped library's
        """Wait for the value.

        Raises:
            messages.errors.ScfWorkersError: the call has failed.
        """
        if not self._has_come:
            self._future = asyncio.get_running_loop().create_future()
            await self._future
        if self._result.value != _OK:
            raise failure(self._result, self._doing)
        return self._value


class NativeClient:
    """One client: connections and threads for all topics.

    Making it reads files and starts threads: make it off the loop.

    Args:
        options: where the broker is.
        wakeups: of the loop that uses it.

    Raises:
        transport.errors.BadBrokerUrl: the client does not understand the URL.
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
        """Full names of the topics that make up a topic: itself, or its partitions.

        Raises:
            transport.errors.BrokerDown: the broker did not tell.
        """
        path = self._options.path(topic)
        found = await self._wakeups.ask(self._handle.get_topic_partitions_async, path, doing=f"looking up {topic}")
        return [str(name) for name in found]

    async def consumer(self, path: str, subscription: str, queue: int) -> NativeConsumer:
        """Join a Shared subscription, the only kind that TDMQ delays messages on.

        Args:
            path: full name of a topic that has no partitions.
            subscription: made, from the oldest message on, if it is not there.
            queue: messages the client fetches ahead; 0 fetches one for each `receive`, but of a batch the client then
                hands out only the first message.

        Raises:
            transport.errors.BrokerDown: the broker did not let us in.
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
        """Open a topic for publishing.

        A batch would be handed out and given back as a whole, whatever the consumer's prefetch: every message goes
        alone. Its queue never fills, because `ReconnectingProducer` lets in fewer.

        Raises:
            transport.errors.BrokerDown: the broker did not let us in.
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
        """Close whatever is open, and wait for the client's threads. Blocks: call it off the loop.

        Only this form will do. Told by a callback that all is closed, this process may end while the client's thread
        is still in that callback, and needs an interpreter that is gone: a segmentation fault, in one end of thirty.

        A client that nobody closes is closed when the process ends, for the same reason.

        Raises:
            transport.errors.BrokerDown: that did not work out; the connection is given up.
            transport.errors.Closed: it was closed before.
        """
        atexit.unregister(self._at_exit)
        try:
            self._handle.close()
        except self._library.PulsarException as error:
            raise failure(error, "closing") from error

    def _at_exit(self) -> None:
        # A forked child has none of its threads.
        if os.getpid() == self._pid:
            with suppress(ScfWorkersError):
                self.close()


class Arrival:
    """A message as the client has it, taken apart."""

    __slots__ = ("batched", "due", "handle", "message_id", "payload")

    def __init__(self, message: Any) -> None:  # noqa: ANN401 - an untyped library's
        found = message.message_id()
        batch = found.batch_index()
        self.handle: Any = message
        """What the client acks by; it takes twice as long by the id."""
        self.batched = batch >= 0
        """Whether it came in one entry with others."""
        self.message_id = _name(found, batch)
        self.payload: bytes = message.data()
        due = message.properties().get(DUE)
        self.due = _seconds(due) if due else 0.0


class NativeConsumer:
    """A consumer of one topic."""

    def __init__(self, handle: Any, wakeups: Wakeups, doing: str) -> None:  # noqa: ANN401 - an untyped library's
        self._handle = handle
        self._wakeups = wakeups
        self._doing = doing

    @property
    def connected(self) -> bool:
        """Whether the broker has it on its list just now."""
        return bool(self._handle.is_connected())

    def receiver(self, then: Callable[[Arrival | None], None]) -> Callable[[], None]:
        """A function that requests one message: `then` is called on the loop with it, or with None if none will come.

        A request cannot be called off. What the client has fetched already is handed over before it returns.
        """
        return partial(self._handle.receive_async, partial(self._wakeups.call, _hand_over, then))

    def ack(self, message: Any) -> Awaitable[None]:  # noqa: ANN401 - an untyped library's
        """The message is done. The client gathers acks for some 100 ms and tells nobody when they are stored.

        Raises:
            transport.errors.Closed: the consumer was closed.
        """
        return self._wakeups.ask(self._handle.acknowledge_async, message, doing=self._doing)

    def ack_again(self, message: Any) -> None:  # noqa: ANN401 - an untyped library's
        """As `ack`, for one that came again because the broker forgot; if it forgets once more, it comes once more."""
        self._handle.acknowledge_async(message, _ignore)

    def release(self, message: Any) -> None:  # noqa: ANN401 - an untyped library's
        """Give a message back; it comes again, here or elsewhere, after some 100 ms."""
        self._handle.negative_acknowledge(message)

    async def close(self) -> None:
        """Send the acks gathered, leave the subscription, give back everything unacked.

        Raises:
            transport.errors.BrokerDown: the broker did not answer.
            transport.errors.Closed: it was closed before.
        """
        await self._wakeups.ask(self._handle.close_async, doing=self._doing)


class NativeProducer:
    """A producer of one topic."""

    MAX_PENDING: Final = _PENDING

    def __init__(self, handle: Any, wakeups: Wakeups, doing: str) -> None:  # noqa: ANN401 - an untyped library's
        import _pulsar

        self._library: Any = _pulsar
        self._handle = handle
        self._wakeups = wakeups
        self._doing = doing

    @property
    def connected(self) -> bool:
        """Whether the broker has it on its list just now."""
        return bool(self._handle.is_connected())

    async def send(self, payload: bytes, due: float | None, released: Callable[[], None]) -> str:
        """Send one message and wait for its receipt; the message's id.

        Args:
            payload: the bytes.
            due: seconds since the epoch before which it must not be delivered.
            released: called on the loop once the client has let go of the message, whether or not anybody waits still.

        Raises:
            transport.errors.BrokerDown: no receipt came.
            transport.errors.Closed: the producer was closed; the message may be stored all the same.
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
        """Close it; what has no receipt yet fails.

        Raises:
            transport.errors.BrokerDown: the broker did not answer.
            transport.errors.Closed: it was closed before.
        """
        await self._wakeups.ask(self._handle.close_async, doing=self._doing)


def _seconds(due: str) -> float:
    """When a message is due; whatever somebody else may have written there means at once."""
    return int(due) / 1000 if due.isascii() and due.isdigit() and len(due) <= _MILLIS_DIGITS else 0.0


def _keep_until_exit(handle: object) -> None:
    """Keep a client's shell, some kilobytes, until the process is gone.

    Else one of its threads may be the last to let go of it, and then frees our token supplier, for which it needs the
    interpreter: at the end of a process that is gone, and the client's thread aborts the process.
    """
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(handle))


def _hand_over(then: Callable[[Arrival | None], None], result: Any, message: object) -> None:  # noqa: ANN401 - an untyped library's
    then(Arrival(message) if result.value == _OK else None)


def _ignore(result: object) -> None:
    """A callback for calls whose end nobody waits for."""


def _name(found: Any, batch: int) -> str:  # noqa: ANN401 - an untyped library's
    """An id as text, the same at the publisher and at every delivery. Ledgers are never shared between topics."""
    entry = f"{found.ledger_id()}:{found.entry_id()}"
    return entry if batch < 0 else f"{entry}:{batch}"


def _never_raising(token: Callable[[], str]) -> Callable[[], str]:
    """A supplier that never raises: it is called from the client's threads, where an exception ends the process."""
    last = ""

    def supply() -> str:
        nonlocal last
        try:
            last = token()
        except Exception as error:  # noqa: BLE001 - whatever it is, the last token may still be good
            log.warning(Event.TOKEN_STALE, error=error)
        return last

    return supply
