"""What a pump rests on: a consumer that fetches nothing ahead has as many messages as `receive` was called."""

from __future__ import annotations

import asyncio

from tests.conformance.brokers.environments import Environment
from tests.conformance.brokers.helpers import another, eventually, opened, publish_all, shows, take, within
from transport.port import Delivery

TOPIC = "generate-runninghub-high"


async def test_many_calls_wait_at_once_and_each_gets_a_message_of_its_own(environment: Environment) -> None:
    async with opened(environment) as broker:
        consumer = await broker.subscribe([TOPIC], "workers", prefetch=0)
        calls = [asyncio.create_task(consumer.receive()) for _ in range(20)]
        await asyncio.sleep(0)
        ids = await publish_all(broker, TOPIC, [b"each its own"] * 20)
        assert {delivery.message_id for delivery in await within(asyncio.gather(*calls))} == ids


async def test_nothing_is_fetched_beyond_what_was_asked_for(environment: Environment) -> None:
    async with opened(environment) as broker, another(environment, broker) as other:
        await publish_all(broker, TOPIC, [b"ten"] * 10)
        first = await broker.subscribe([TOPIC], "workers", prefetch=0)
        assert len(await within(asyncio.gather(*(first.receive() for _ in range(3))))) == 3
        second = await other.subscribe([TOPIC], "workers", prefetch=0)
        assert len(await take(second, 7)) == 7
        await shows(broker, TOPIC, ready=0, in_flight=10)


async def test_a_call_that_was_cancelled_leaves_its_message_to_the_others(environment: Environment) -> None:
    async with opened(environment) as broker:
        consumer = await broker.subscribe([TOPIC], "workers", prefetch=0)
        calls = [asyncio.create_task(consumer.receive()) for _ in range(6)]
        await asyncio.sleep(0)
        for call in calls[:5]:
            call.cancel()
        (message_id,) = await publish_all(broker, TOPIC, [b"for the sixth"])
        assert (await within(calls[5])).message_id == message_id


async def test_a_call_that_takes_anothers_message_leaves_it_waiting_and_not_forgotten(environment: Environment) -> None:
    """An ack ends and a message comes at the same moment; the slot that acked asks first."""
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


async def test_a_consumer_says_that_it_is_connected_until_it_is_closed(environment: Environment) -> None:
    async with opened(environment) as broker:
        consumer = await broker.subscribe([TOPIC], "workers", prefetch=0)

        async def connected() -> bool:
            return consumer.connected

        await eventually(connected)
        await consumer.close()
        assert not consumer.connected
