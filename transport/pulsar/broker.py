"""Broker port on Pulsar: `PulsarBroker`."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Final, Self, TypeVar
from urllib.parse import urlsplit

from messages.bodies import Stage
from messages.codec import MAX_MESSAGE_BYTES
from messages.errors import MessageTooLarge
from messages.topics import subscription_of, topic_of
from telemetry import logs
from telemetry.events import Event
from transport.errors import BadBrokerUrl, BrokerDown, BrokerUnauthorized, Closed, Forked
from transport.port import Backlog, Capabilities
from transport.pulsar.admin import Admin
from transport.pulsar.consumer import PulsarConsumer
from transport.pulsar.handshake import probe, probe_any
from transport.pulsar.native import NativeClient, Wakeups
from transport.pulsar.options import PulsarOptions, hosts_of
from transport.pulsar.reconnecting_producer import ReconnectingProducer
from transport.pulsar.topic_consumer import TopicConsumer
from transport.pulsar.watchdog import Watchdog

__all__ = ["PulsarBroker"]

T = TypeVar("T")

_LONGEST_DELAY: Final = 864_000.0
"""Seconds; TDMQ's limit of ten days (product page "使用限制"). The engine checks on receipt that a message is due."""
_CLOSE_LIMIT: Final = 10.0
"""Seconds that `close` waits for a broker that does not answer."""

log = logs.get(__name__)


class PulsarBroker:
    """A connection to Pulsar. Use `PulsarBroker.open`."""

    def __init__(
        self,
        options: PulsarOptions,
        client: NativeClient,
        admin: Admin | None,
        executor: ThreadPoolExecutor,
        clock: Callable[[], float],
    ) -> None:
        self._options = options
        self._client = client
        self._admin = admin
        self._executor = executor
        self._clock = clock
        self._watchdog = Watchdog()
        self._producers: dict[str, ReconnectingProducer] = {}
        self._opening: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._consumers: set[PulsarConsumer] = set()
        self._publishing = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing = False
        self._close_lock = asyncio.Lock()
        self._client_closed: Future[None] | None = None
        self._pid = os.getpid()

    @classmethod
    async def open(cls, options: PulsarOptions, *, clock: Callable[[], float] = time.time) -> Self:
        """Probe the broker and start the client.

        Args:
            options: URL, token and namespace of the broker.
            clock: returns the wall time in seconds, for due times and ages.

        Raises:
            transport.errors.BadBrokerUrl: the options are invalid.
            transport.errors.BrokerDown: the broker does not answer.
            transport.errors.BrokerUnauthorized: the broker rejects this token.
        """
        options.check()
        executor = ThreadPoolExecutor(1, thread_name_prefix="pulsar-broker")
        run = asyncio.get_running_loop().run_in_executor
        try:
            tls = await run(executor, _tls_context, options)
            token = await run(executor, options.token) if options.token else None
            if options.is_http:
                admin_of = partial(Admin, token=options.token, tls=tls, clock=clock)
                probe_host = partial(_probe_http, partial(run, executor), options, admin_of)
            else:
                probe_host = partial(probe, token=token, tls=tls if options.is_tls else None)
            await probe_any(hosts_of(options.url), probe_host)
            admin = Admin(options.admin_url, options.token, tls, clock) if options.admin_url else None
            client = await run(executor, NativeClient, options, Wakeups())
        except BaseException:
            executor.shutdown(wait=False)
            raise
        return cls(options, client, admin, executor, clock)

    @property
    def capabilities(self) -> Capabilities:
        """Shared and durable; backlogs lag and are estimates when long."""
        return Capabilities(
            survives_restart=True, shared_between_processes=True, exact_backlog=False, knows_dead_holders=False
        )

    async def publish(self, topic: str, payload: bytes, *, delay: float = 0.0) -> str:
        """Store a message and return its id after the broker's receipt; see the port.

        Waits while the broker is unreachable or too many messages are unconfirmed, at most for the send time-out.

        Raises:
            transport.errors.Forked: another process opened this broker.
        """
        self._check_open()
        if len(payload) > MAX_MESSAGE_BYTES:
            raise MessageTooLarge(f"a message of {len(payload)} bytes for {topic}: the limit is {MAX_MESSAGE_BYTES}")
        self._publishing += 1
        self._idle.clear()
        try:
            producer = self._producers.get(topic) or await self._producer_of(topic)
            due = self._clock() + min(delay, _LONGEST_DELAY) if delay > 0 else None
            return await producer.send(payload, due)
        finally:
            self._publishing -= 1
            if not self._publishing:
                self._idle.set()

    async def _producer_of(self, topic: str) -> ReconnectingProducer:
        async with self._opening[topic]:
            if topic not in self._producers:
                self._check_open()
                with self._report_closed():
                    producer = await self._open_producer(topic)
                self._producers[topic] = producer
                self._watchdog.watch(producer)
                if self._closing:
                    producer.close()
            return self._producers[topic]

    async def _open_producer(self, topic: str) -> ReconnectingProducer:
        """Open a producer and ensure the topic's subscription. If the subscription fails, drop the producer."""
        opening = ReconnectingProducer.open(partial(self._client.producer, topic), self._options.send_timeout)
        producer, joined = await asyncio.gather(opening, self._ensure_subscription(topic), return_exceptions=True)
        if isinstance(producer, BaseException):
            raise producer
        if isinstance(joined, BaseException):
            await producer.drop()
            raise joined
        return producer

    async def _ensure_subscription(self, topic: str) -> None:
        """Create the topic's subscription, if missing, by joining and leaving it.

        Without a subscription Pulsar does not keep the topic's messages.
        """
        subscription = subscription_of(topic)
        if not subscription:
            return
        try:
            for path in await self._client.partitions(topic):
                consumer = await self._client.consumer(path, subscription, 0)
                await consumer.close()
        except BrokerUnauthorized as error:
            # A producer's token may be allowed to publish only.
            log.warning(Event.SUBSCRIPTION_UNVERIFIED, error=error, topic=topic)

    async def subscribe(self, topics: Sequence[str], subscription: str, *, prefetch: int = 1) -> PulsarConsumer:
        """Join a subscription; see the port. `prefetch` applies to each topic and each partition separately.

        With a prefetch of 0 the client delivers only the first message of a batch. This adapter sends no batches. If
        another program does, the topic is subscribed again after some seconds with a queue of one message.

        Raises:
            ValueError: no topic, no subscription name, or a negative prefetch.
            transport.errors.Closed: the broker was closed.
            transport.errors.BrokerDown: the broker did not accept the subscription.
            transport.errors.Forked: another process opened this broker.
        """
        self._check_open()
        if not topics or not subscription or prefetch < 0:
            raise ValueError("a consumer needs a topic, the name of a subscription and a prefetch of at least 0")
        consumer = PulsarConsumer(self._clock, prefetch, self._check_process, self._forget)
        self._consumers.add(consumer)
        joining = (self._join(consumer, topic, subscription, prefetch) for topic in topics)
        failed = [end for end in await asyncio.gather(*joining, return_exceptions=True) if end is not None]
        if failed or self._closing:
            await consumer.close()
        if failed:
            with self._report_closed():
                raise failed[0]
        return consumer

    async def _join(self, consumer: PulsarConsumer, topic: str, subscription: str, prefetch: int) -> None:
        for path in await self._client.partitions(topic):
            make = partial(self._client.consumer, path, subscription)
            topic_consumer = TopicConsumer(topic, await make(prefetch), make, prefetch, consumer.arrived)
            consumer.add(topic_consumer)
            self._watchdog.watch(topic_consumer)

    def _forget(self, consumer: PulsarConsumer) -> None:
        self._consumers.discard(consumer)
        for topic_consumer in consumer.topic_consumers:
            self._watchdog.forget(topic_consumer)

    async def backlog(self, topic: str, subscription: str) -> Backlog:
        """Read the backlog from the admin interface; see `transport.pulsar.admin`.

        Without an admin interface it counts only the messages that this connection's consumers hold, as `in_flight`.

        Raises:
            transport.errors.Closed: the broker was closed.
            transport.errors.BrokerDown: no answer.
            transport.errors.Forked: another process opened this broker.
        """
        self._check_open()
        if self._admin is None:
            held = sum(consumer.held.get(topic, 0) for consumer in self._consumers)
            return Backlog(ready=0, delayed=0, in_flight=held, oldest_age=0.0)
        with self._report_closed():
            paths = await self._client.partitions(topic)
        found = [await self._run(partial(self._admin.backlog, path, subscription)) for path in paths]
        return Backlog(
            ready=sum(partition.ready for partition in found),
            delayed=sum(partition.delayed for partition in found),
            in_flight=sum(partition.in_flight for partition in found),
            oldest_age=max(partition.oldest_age for partition in found),
        )

    async def close(self) -> None:
        """Close every consumer, wait for receipts and disconnect; see the port. Gives up after 10 s.

        Raises:
            transport.errors.BrokerDown: the broker did not answer; it drops the connection by itself.
        """
        if os.getpid() != self._pid:
            return  # The parent process closes it.
        self._closing = True
        consumers = tuple(self._consumers)
        for consumer in consumers:
            consumer.stop()
        for producer in self._producers.values():
            producer.close()
        async with self._close_lock:
            try:
                async with asyncio.timeout(_CLOSE_LIMIT):
                    await self._disconnect(consumers)
            except TimeoutError as error:
                raise BrokerDown("the broker did not answer the close") from error
            finally:
                self._close_client()

    async def _disconnect(self, consumers: Sequence[PulsarConsumer]) -> None:
        await self._watchdog.stop()
        await asyncio.gather(*(consumer.close() for consumer in consumers))
        await self._idle.wait()
        await asyncio.shield(asyncio.wrap_future(self._close_client()))

    def _close_client(self) -> Future[None]:
        """Close the client in the broker's thread, once. The process ends only after that."""
        if self._client_closed is None:
            self._client_closed = self._executor.submit(self._client.close)
            self._executor.shutdown(wait=False)
        return self._client_closed

    async def _run(self, work: Callable[[], T]) -> T:
        self._check_open()
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def _check_open(self) -> None:
        self._check_process()
        if self._closing:
            raise Closed("the broker is closed")

    @contextmanager
    def _report_closed(self) -> Generator[None]:
        """Raise `Closed` in place of a `BrokerDown` if the broker was closed meanwhile."""
        try:
            yield
        except BrokerDown as error:
            if self._closing:
                raise Closed("the broker is closed") from error
            raise

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise Forked("this broker was opened before a fork and does not work in the child: open a new one")


async def _probe_http(
    run: Callable[[Callable[[], None]], Awaitable[None]],
    options: PulsarOptions,
    admin: Callable[..., Admin],
    host: str,
    port: int,
) -> None:
    """Probe a host whose lookups use HTTP."""
    scheme = urlsplit(options.url).scheme
    at = admin(f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}")
    await run(partial(at.probe, options.path(topic_of(Stage.WAKE))))


def _tls_context(options: PulsarOptions) -> ssl.SSLContext | None:
    if not options.is_tls and not options.admin_url.startswith("https"):
        return None
    import certifi

    try:
        return ssl.create_default_context(cafile=options.tls_ca or certifi.where())
    except (OSError, ssl.SSLError) as error:
        raise BadBrokerUrl(f"BROKER_TLS_CA is {options.tls_ca!r}, which cannot be loaded: {error}") from error
