"""Closing consumers and brokers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.conformance.brokers.environments import Environment, fleeting, lasting
from tests.conformance.brokers.helpers import another, finish, opened, publish_all, shows, take, within
from transport.errors import Closed
from transport.port import Broker


async def test_closing_a_consumer_ends_every_receive_and_loses_nothing(environment: Environment) -> None:
    async with opened(environment) as broker:
        consumer = await broker.subscribe(["poll"], "workers", prefetch=5)
        receives = [asyncio.ensure_future(consumer.receive()) for _ in range(4)]
        await asyncio.sleep(0)
        ids = await publish_all(broker, "poll", [b"1", b"2"])
        await within(consumer.close())
        await asyncio.wait(receives)
        ends = [receive.exception() for receive in receives]
        assert all(end is None or isinstance(end, Closed) for end in ends)
        assert sum(isinstance(end, Closed) for end in ends) >= 2
        heir = await broker.subscribe(["poll"], "workers")
        assert {delivery.message_id for delivery in await finish(heir, 2)} == ids


async def test_a_closed_consumer_releases_its_messages_at_once(environment: Environment) -> None:
    async with opened(environment) as broker, another(environment, broker) as other:
        ids = await publish_all(broker, "clean-high", [b"held"] * 6)
        consumer = await broker.subscribe(["clean-high"], "workers", prefetch=3)
        held = await take(consumer, 2)
        await consumer.ack(held[0])
        heir = await other.subscribe(["clean-high"], "workers")
        async with asyncio.TaskGroup() as tasks:
            receiving = tasks.create_task(finish(heir, 5))
            await consumer.close()
        assert {delivery.message_id for delivery in receiving.result()} == ids - {held[0].message_id}
        await shows(broker, "clean-high", ready=0, in_flight=0)


async def test_a_closed_consumer_raises_closed(environment: Environment) -> None:
    async with opened(environment) as broker:
        await broker.publish("wake", b"x")
        consumer = await broker.subscribe(["wake"], "workers")
        delivery = await within(consumer.receive())
        await consumer.close()
        await consumer.close()
        with pytest.raises(Closed):
            await within(consumer.receive())
        with pytest.raises(Closed):
            await consumer.ack(delivery)
        await consumer.release(delivery)
        await shows(broker, "wake", ready=1, in_flight=0)


async def test_a_message_released_while_its_consumer_closes_goes_to_another(environment: Environment) -> None:
    async with opened(environment) as broker:
        sent = await broker.publish("wake", b"x")
        consumer = await broker.subscribe(["wake"], "workers")
        delivery = await within(consumer.receive())
        closing = asyncio.ensure_future(consumer.close())
        await asyncio.sleep(0)
        await within(consumer.release(delivery))
        await within(closing)
        heir = await broker.subscribe(["wake"], "workers")
        assert (await finish(heir, 1))[0].message_id == sent


async def test_closing_a_broker_ends_every_consumer(environment: Environment) -> None:
    broker = await environment.open()
    consumers = [await broker.subscribe(["poll"], "workers"), await broker.subscribe(["wake"], "workers")]
    receives = [asyncio.ensure_future(consumer.receive()) for consumer in consumers]
    await asyncio.sleep(0)
    await within(asyncio.gather(broker.close(), broker.close()))
    await broker.close()
    await asyncio.wait(receives)
    assert all(isinstance(receive.exception(), Closed) for receive in receives)
    await consumers[0].close()


async def test_a_subscribe_while_the_broker_closes_ends(environment: Environment) -> None:
    broker = await environment.open()
    subscribing = asyncio.ensure_future(broker.subscribe(["poll"], "workers"))
    await asyncio.sleep(0)
    await within(broker.close())
    with pytest.raises(Closed):
        await within((await subscribing).receive())


@pytest.mark.parametrize(
    "use",
    [
        lambda broker: broker.publish("poll", b"x"),
        lambda broker: broker.subscribe(["poll"], "workers"),
        lambda broker: broker.backlog("poll", "workers"),
    ],
    ids=["publish", "subscribe", "backlog"],
)
async def test_a_closed_broker_raises_closed(
    environment: Environment, use: Callable[[Broker], Awaitable[object]]
) -> None:
    broker = await environment.open()
    await broker.close()
    with pytest.raises(Closed):
        await within(use(broker))


@lasting
async def test_confirmed_messages_outlive_their_broker(environment: Environment) -> None:
    async with opened(environment) as broker:
        consumer = await broker.subscribe(["notify"], "workers", prefetch=2)
        ids = await publish_all(broker, "notify", [b"a", b"b", b"c", b"d"])
        done = await finish(consumer, 1)
        await take(consumer, 1)
        await broker.publish("notify", b"later", delay=3600)
    async with opened(environment) as broker:
        await shows(broker, "notify", ready=3, delayed=1, in_flight=0)
        consumer = await broker.subscribe(["notify"], "workers")
        assert {delivery.message_id for delivery in await finish(consumer, 3)} == ids - {done[0].message_id}


@fleeting
async def test_a_broker_that_does_not_survive_a_restart_begins_empty(environment: Environment) -> None:
    async with opened(environment) as broker:
        await broker.publish("notify", b"gone")
    async with opened(environment) as broker:
        await shows(broker, "notify", ready=0, delayed=0, in_flight=0)


@lasting
async def test_publishes_under_way_at_the_close_are_stored_or_fail(environment: Environment) -> None:
    broker = await environment.open()
    publishing = [asyncio.ensure_future(broker.publish("poll", b"x")) for _ in range(100)]
    await asyncio.sleep(0)
    await within(broker.close())
    await asyncio.wait(publishing)
    stored = {task.result() for task in publishing if task.exception() is None}
    assert all(task.exception() is None or isinstance(task.exception(), Closed) for task in publishing)
    async with opened(environment) as broker:
        consumer = await broker.subscribe(["poll"], "workers")
        assert {delivery.message_id for delivery in await finish(consumer, len(stored))} == stored
        await shows(broker, "poll", ready=0, in_flight=0)
