"""Many messages."""

from __future__ import annotations

import asyncio

from tests.conformance.brokers.environments import Environment
from tests.conformance.brokers.helpers import opened, publish_all, shows
from transport.port import Delivery

_CHUNK = 1000
_MOST_BYTES = 10 << 20
"""The file of the embedded broker stops growing at less than half of this; without cleanup it would reach 13 MiB."""


async def test_many_messages_are_delivered_once_each_in_bounded_space(environment: Environment) -> None:
    async with opened(environment) as broker:
        consumer = await broker.subscribe(["poll"], "workers", prefetch=_CHUNK)
        room = asyncio.Semaphore(4)
        published: set[str] = set()
        received: list[str] = []
        largest = 0

        async def publish() -> None:
            for _ in range(environment.volume // _CHUNK):
                await room.acquire()
                published.update(await publish_all(broker, "poll", [b"x" * 160] * _CHUNK))

        async def take_chunk() -> list[Delivery]:
            return [await consumer.receive() for _ in range(_CHUNK)]

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(publish())
            for _ in range(environment.volume // _CHUNK):
                deliveries = await take_chunk()
                await asyncio.gather(*(consumer.ack(delivery) for delivery in deliveries))
                received += [delivery.message_id for delivery in deliveries]
                largest = max(largest, await environment.stored_bytes())
                room.release()
        assert len(received) == len(published) == environment.volume
        assert set(received) == published
        assert largest < _MOST_BYTES
        await shows(broker, "poll", ready=0, delayed=0, in_flight=0)
