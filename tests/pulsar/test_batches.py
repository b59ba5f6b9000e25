"""Batches of another program: all of their messages are delivered, with any prefetch."""

from __future__ import annotations

import asyncio

import pulsar
import pytest

from tests.conformance.brokers.helpers import finish, shows
from tests.pulsar.conftest import Opener
from tests.support.pulsar_part import Place

pytestmark = pytest.mark.pulsar

TOPIC = "wake"


def send_batch(place: Place, namespace: str, count: int) -> None:
    """Send a batch, as clients of other languages do by default."""
    token = pulsar.AuthenticationToken(place.token) if place.token else None
    client = pulsar.Client(place.url, token, logger=pulsar.ConsoleLogger(pulsar.LoggerLevel.Error))
    producer = client.create_producer(
        f"persistent://public/{namespace}/{TOPIC}",
        batching_enabled=True,
        batching_max_messages=count,
        batching_max_publish_delay_ms=10_000,
    )
    for number in range(count):
        producer.send_async(f"{number}".encode(), None)
    producer.flush()
    client.close()


@pytest.mark.parametrize("prefetch", [0, 1, 100])
async def test_every_message_of_a_batch_is_delivered_and_acked(
    opened: Opener, place: Place, namespace: str, prefetch: int
) -> None:
    async with opened() as broker:
        consumer = await broker.subscribe([TOPIC], "workers", prefetch=prefetch)
        for _ in range(2):
            await asyncio.to_thread(send_batch, place, namespace, 12)
            deliveries = await finish(consumer, 12)
            assert sorted(int(delivery.payload) for delivery in deliveries) == list(range(12))
        await shows(broker, TOPIC, ready=0, in_flight=0)
