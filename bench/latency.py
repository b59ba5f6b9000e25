"""Time from the publish of a message to the begin of its stage, at a hundred a second, on each broker and raw."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pulsar
import pulsar.asyncio

from bench.environment import TOPIC, build_pump, build_services, poll_message
from bench.figures import Figure
from bench.pulsar_endpoint import PulsarEndpoint, pulsar_endpoint, quiet
from consumers.engine.outcomes import Leave, Outcome
from messages.bodies import Stage
from messages.codec import Message
from tasks.context import Services
from tasks.run import Task
from transport.port import Broker
from transport.sqlite import SqliteBroker

__all__ = ["measure"]

_REPEATS = 3
_RATE = 100
_SECONDS = 5
_MESSAGES = _RATE * _SECONDS


async def _steadily(send: Callable[[int], Awaitable[object]]) -> list[float]:
    """Send at a steady rate. Returns the send times."""
    started = time.perf_counter()
    sent = []
    async with asyncio.TaskGroup() as tasks:
        for number in range(_MESSAGES):
            await asyncio.sleep(max(0.0, started + number / _RATE - time.perf_counter()))
            sent.append(time.perf_counter())
            tasks.create_task(_send(send, number))
    return sent


async def _send(send: Callable[[int], Awaitable[object]], number: int) -> None:
    await send(number)


async def _engine(broker: Broker) -> list[float]:
    """Return the milliseconds of each message."""
    begun: dict[int, float] = {}
    done = asyncio.Event()

    async def stage(message: Message, _task: Task | None, _out: Services) -> Outcome:
        begun[int(message.header.task[1:])] = time.perf_counter()
        if len(begun) == _MESSAGES:
            done.set()
        return Leave()

    pump = build_pump(build_services(broker), {Stage.POLL: stage}, concurrency=8, prefetch=0)
    running = asyncio.create_task(pump.run())
    await broker.publish("wake", b"")  # connects
    sent = await _steadily(lambda number: broker.publish(TOPIC, poll_message(number)))
    await done.wait()
    pump.stop()
    await running
    await broker.close()
    return [(begun[number] - at) * 1000 for number, at in enumerate(sent)]


async def _sqlite(folder: str) -> list[float]:
    return await _engine(await SqliteBroker.open(str(Path(folder) / "broker.db")))


async def _pulsar(endpoint: PulsarEndpoint) -> list[float]:
    return await _engine(await endpoint.open(endpoint.namespace()))


async def _raw(endpoint: PulsarEndpoint) -> list[float]:
    path = endpoint.path(endpoint.namespace())
    client = pulsar.asyncio.Client(endpoint.url, authentication=endpoint.authentication, logger=quiet())
    consumer = await client.subscribe(path, "workers", consumer_type=pulsar.ConsumerType.Shared)
    producer = await client.create_producer(path, batching_enabled=False)
    begun: dict[int, float] = {}

    async def take() -> None:
        while len(begun) < _MESSAGES:
            message = await consumer.receive()
            begun[int(message.data())] = time.perf_counter()
            await consumer.acknowledge(message)

    taking = asyncio.create_task(take())
    sent = await _steadily(lambda number: producer.send(f"{number}".encode()))
    await taking
    await consumer.close()
    await client.close()
    return [(begun[number] - at) * 1000 for number, at in enumerate(sent)]


def measure() -> Iterator[Figure]:
    """Measure the median and the 99th percentile."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _figures("sqlite", [asyncio.run(_sqlite(folder)) for _ in range(_REPEATS)])
    with pulsar_endpoint() as endpoint:
        asyncio.run(_raw(endpoint))  # compiles the broker's code
        rows = [(asyncio.run(_pulsar(endpoint)), asyncio.run(_raw(endpoint))) for _ in range(_REPEATS)]
        yield from _figures("pulsar", [ours for ours, _ in rows])
        yield from _figures("raw_pulsar", [raw for _, raw in rows])


def _figures(name: str, runs: list[list[float]]) -> Iterator[Figure]:
    parts = [statistics.quantiles(run, n=100) for run in runs]
    yield Figure.of(f"latency_{name}_p50", [part[49] for part in parts], "ms")
    yield Figure.of(f"latency_{name}_p99", [part[98] for part in parts], "ms")
