"""Engine on a real Pulsar against the raw asyncio client on the same broker, and publishing against raw sends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

import pulsar
import pulsar.asyncio

from bench.environment import TOPIC, NoWork, poll_message
from bench.figures import Figure, ratio
from bench.pulsar_endpoint import PulsarEndpoint, pulsar_endpoint, quiet

__all__ = ["measure"]

_REPEATS = 5
_MESSAGES = 20_000
_SLOW_MESSAGES = 4_000
_QUEUE = 1000
"""Default queue of the raw client; the engine gets the same."""
_SLOTS = 64
_PUBLISHES = 5_000
_AT_ONCE = 500

_Way = Callable[[PulsarEndpoint, str], Awaitable[float]]
"""Consumes the messages of a namespace. Returns messages per second."""


def _fill(endpoint: PulsarEndpoint, namespace: str, count: int, *, batching: bool) -> None:
    client = endpoint.client()
    path = endpoint.path(namespace)
    client.subscribe(path, "workers", consumer_type=pulsar.ConsumerType.Shared).close()
    producer = client.create_producer(
        path, batching_enabled=batching, block_if_queue_full=True, batching_max_publish_delay_ms=5
    )
    for number in range(count):
        producer.send_async(poll_message(number), None)
    producer.flush()
    client.close()


async def _raw(endpoint: PulsarEndpoint, namespace: str, tasks: int) -> float:
    client = pulsar.asyncio.Client(endpoint.url, authentication=endpoint.authentication, logger=quiet())
    consumer = await client.subscribe(
        endpoint.path(namespace), "workers", consumer_type=pulsar.ConsumerType.Shared, receiver_queue_size=_QUEUE
    )

    async def loop(count: int) -> None:
        for _ in range(count):
            message = await consumer.receive()
            await consumer.acknowledge(message)

    await loop(1)
    started = time.perf_counter()
    await asyncio.gather(*(loop((_MESSAGES - 1) // tasks) for _ in range(tasks)))
    took = time.perf_counter() - started
    await consumer.close()
    await client.close()
    return (_MESSAGES - 1) // tasks * tasks / took


async def _raw_one(endpoint: PulsarEndpoint, namespace: str) -> float:
    return await _raw(endpoint, namespace, 1)


async def _raw_twenty(endpoint: PulsarEndpoint, namespace: str) -> float:
    return await _raw(endpoint, namespace, 20)


async def _adapter(endpoint: PulsarEndpoint, namespace: str) -> float:
    """Measure our consumer without an engine."""
    broker = await endpoint.open(namespace)
    consumer = await broker.subscribe([TOPIC], "workers", prefetch=_QUEUE)
    await consumer.ack(await consumer.receive())
    started = time.perf_counter()
    for _ in range(_MESSAGES - 1):
        await consumer.ack(await consumer.receive())
    took = time.perf_counter() - started
    await broker.close()
    return (_MESSAGES - 1) / took


async def _engine(endpoint: PulsarEndpoint, namespace: str) -> float:
    return await _run(endpoint, namespace, _MESSAGES, prefetch=_QUEUE)


async def _engine_logging(endpoint: PulsarEndpoint, namespace: str) -> float:
    return await _run(endpoint, namespace, _MESSAGES, prefetch=_QUEUE, logged=True)


async def _engine_no_prefetch(endpoint: PulsarEndpoint, namespace: str) -> float:
    return await _run(endpoint, namespace, _SLOW_MESSAGES, prefetch=0)


async def _run(endpoint: PulsarEndpoint, namespace: str, count: int, *, prefetch: int, logged: bool = False) -> float:
    broker = await endpoint.open(namespace)
    work = NoWork(broker, concurrency=_SLOTS, prefetch=prefetch, logged=logged)
    took = await work.take(count)
    await broker.close()
    return count / took


def _take(endpoint: PulsarEndpoint, way: _Way, *, batching: bool = False) -> float:
    namespace = endpoint.namespace()
    count = _SLOW_MESSAGES if way is _engine_no_prefetch else _MESSAGES
    _fill(endpoint, namespace, count, batching=batching)
    return asyncio.run(way(endpoint, namespace))


async def _publish_ours(endpoint: PulsarEndpoint, namespace: str) -> float:
    broker = await endpoint.open(namespace)
    await broker.publish(TOPIC, poll_message(0))

    async def send(number: int) -> None:
        await broker.publish(TOPIC, poll_message(number))

    rate = await _in_waves(send)
    await broker.close()
    return rate


async def _publish_raw(endpoint: PulsarEndpoint, namespace: str, *, batching: bool = False) -> float:
    client = pulsar.asyncio.Client(endpoint.url, authentication=endpoint.authentication, logger=quiet())
    producer = await client.create_producer(endpoint.path(namespace), batching_enabled=batching)
    await producer.send(poll_message(0))

    async def send(number: int) -> None:
        await producer.send(poll_message(number))

    rate = await _in_waves(send)
    await producer.close()
    await client.close()
    return rate


async def _publish_raw_batching(endpoint: PulsarEndpoint, namespace: str) -> float:
    return await _publish_raw(endpoint, namespace, batching=True)


async def _in_waves(send: Callable[[int], Awaitable[None]]) -> float:
    started = time.perf_counter()
    for first in range(0, _PUBLISHES, _AT_ONCE):
        await asyncio.gather(*(send(number) for number in range(first, first + _AT_ONCE)))
    return _PUBLISHES / (time.perf_counter() - started)


def measure() -> Iterator[Figure]:
    """Measure rates and ratios. Compared variants alternate, so that a change of load affects all equally."""
    with pulsar_endpoint() as endpoint:
        _take(endpoint, _engine)  # compiles the broker's code
        yield from _taking(endpoint)
        yield from _publishing(endpoint)


def _taking(endpoint: PulsarEndpoint) -> Iterator[Figure]:
    ways = {
        "raw_pulsar_one_task": (_raw_one, False),
        "raw_pulsar_20_tasks": (_raw_twenty, False),
        "adapter_pulsar": (_adapter, False),
        "engine_pulsar": (_engine, False),
        "engine_pulsar_logging": (_engine_logging, False),
        "engine_pulsar_no_prefetch": (_engine_no_prefetch, False),
        "raw_pulsar_batches_one_task": (_raw_one, True),
        "raw_pulsar_batches_20_tasks": (_raw_twenty, True),
        "adapter_pulsar_batches": (_adapter, True),
        "engine_pulsar_batches": (_engine, True),
    }
    rows = {name: list[float]() for name in ways}
    for _ in range(_REPEATS):
        for name, (way, batching) in ways.items():
            rows[name].append(_take(endpoint, way, batching=batching))
    for name, rates in rows.items():
        yield Figure.of(name, rates, "messages/s")
    raw = rows["raw_pulsar_one_task"]
    yield ratio("engine_vs_raw_pulsar", rows["engine_pulsar"], raw)
    yield ratio("engine_vs_raw_pulsar_20_tasks", rows["engine_pulsar"], rows["raw_pulsar_20_tasks"])
    yield ratio("engine_logging_vs_raw_pulsar", rows["engine_pulsar_logging"], raw)
    yield ratio("engine_no_prefetch_vs_raw_pulsar", rows["engine_pulsar_no_prefetch"], raw)
    yield ratio("engine_batches_vs_raw_pulsar", rows["engine_pulsar_batches"], raw)
    yield ratio(
        "engine_batches_vs_raw_pulsar_batches", rows["engine_pulsar_batches"], rows["raw_pulsar_batches_one_task"]
    )


def _publishing(endpoint: PulsarEndpoint) -> Iterator[Figure]:
    ways = {
        "publish_pulsar": _publish_ours,
        "publish_raw_pulsar": _publish_raw,
        "publish_raw_pulsar_batching": _publish_raw_batching,
    }
    rows = {name: list[float]() for name in ways}
    for _ in range(_REPEATS):
        for name, way in ways.items():
            rows[name].append(asyncio.run(way(endpoint, endpoint.namespace())))
    for name, rates in rows.items():
        yield Figure.of(name, rates, "messages/s")
    yield ratio("publish_vs_raw_pulsar", rows["publish_pulsar"], rows["publish_raw_pulsar"])
