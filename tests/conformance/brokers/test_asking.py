"""Consumers without prefetch, as a pump uses them: one message for each call of `receive`."""

from __future__ import annotations

import asyncio

from tests.conformance.brokers.environments import Environment
from tests.conformance.brokers.helpers import another, eventually, opened, publish_all, shows, take, within
from transport.port import Delivery

TOPIC = "generate-runninghub-high"


async def test_concurrent_receives_each_get_a_message_of_their_own(environment: Environment) -> None:
    async with opened(environment) as broker:
        consumer = await broker.subscribe([TOPIC], "workers", prefetch=0)
        calls = [asyncio.create_task(consumer.receive()) for _ in range(20)]
        await asyncio.sleep(0)
        ids = await publish_all(broker, TOPIC, [b"each its own"] * 20)
        assert {delivery.message_id for delivery in await within(asyncio.gather(*calls))} == ids


async def test_no_message_is_fetched_without_a_receive(environment: Environment) -> None:
    async with opened(environment) as broker, another(environment, broker) as other:
        await publish_all(broker, TOPIC, [b"ten"] * 10)
        first = await broker.subscribe([TOPIC], "workers", prefetch=0)
        assert len(await within(asyncio.gather(*(first.receive() for _ in range(3))))) == 3
        second = await other.subscribe([TOPIC], "workers", prefetch=0)
        assert len(await take(second, 7)) == 7
        await shows(broker, TOPIC, ready=0, in_flight=10)


async def test_a_cancelled_receive_leaves_its_message_to_the_others(environment: Environment) -> None:
    async with opened(environment) as broker:
        consumer = await broker.subscribe([TOPIC], "workers", prefetch=0)
        calls = [asyncio.create_task(consumer.receive()) for _ in range(6)]
        await asyncio.sleep(0)
        for call in calls[:5]:
            call.cancel()
        (message_id,) = await publish_all(broker, TOPIC, [b"for the sixth"])
        assert (await within(calls[5])).message_id == message_id


async def test_a_receive_whose_message_another_took_keeps_waiting(environment: Environment) -> None:
    """An ack ends and a message arrives at the same moment; the permit that acked requests first."""
    async with opened(environment) as broker:
        consumer = await broker.subscribe([TOPIC], "workers", prefetch=0)
        await broker.publish(TOPIC, b"first")
        first = await within(consumer.receive())
        late = await broker.publish(TOPIC, b"late", delay=1.0)
        waiting = asyncio.create_task(consumer.receive())
        await asyncio.sleep(0.1)

        async def go_on() -> Delivery:
            await consumer.ack(first)
            return await consumer.receive()

        going_on = asyncio.create_task(go_on())
        soon = await broker.publish(TOPIC, b"soon")
        came = await within(asyncio.gather(waiting, going_on))
        assert {delivery.message_id for delivery in came} == {soon, late}


async def test_a_consumer_is_connected_until_it_is_closed(environment: Environment) -> None:
    async with opened(environment) as broker:
        consumer = await broker.subscribe([TOPIC], "workers", prefetch=0)

        async def connected() -> bool:
            return consumer.connected

        await eventually(connected)
        await consumer.close()
        assert not consumer.connected
