"""Several consumers, topics and subscriptions."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from tests.conformance.brokers.environments import Environment
from tests.conformance.brokers.helpers import another, finish, opened, publish_all, shows, take, within
from transport.port import Consumer, Delivery


async def test_two_consumers_share_the_messages_and_none_is_delivered_twice(environment: Environment) -> None:
    total = 200
    async with opened(environment) as broker, another(environment, broker) as other:
        ids = await publish_all(broker, "generate-runninghub-high", [b"share"] * total)
        consumers = [await each.subscribe(["generate-runninghub-high"], "workers") for each in (broker, other)]
        acked: list[list[str]] = [[], []]
        all_acked = asyncio.Event()

        async def work(consumer: Consumer, mine: list[str]) -> None:
            while True:
                delivery = await consumer.receive()
                await consumer.ack(delivery)
                mine.append(delivery.message_id)
                if sum(map(len, acked)) >= total:
                    all_acked.set()

        async with asyncio.TaskGroup() as tasks:
            workers = [tasks.create_task(work(*pair)) for pair in zip(consumers, acked, strict=True)]
            await within(all_acked.wait())
            for worker in workers:
                worker.cancel()
        assert Counter(acked[0] + acked[1]) == dict.fromkeys(ids, 1)
        assert all(len(mine) > total // 20 for mine in acked)
        await shows(broker, "generate-runninghub-high", ready=0, delayed=0, in_flight=0)


async def test_a_small_prefetch_leaves_work_for_a_second_consumer(environment: Environment) -> None:
    async with opened(environment) as broker, another(environment, broker) as other:
        await publish_all(broker, "clean-high", [b"one of ten"] * 10)
        first = await broker.subscribe(["clean-high"], "workers", prefetch=1)
        await within(first.receive())
        second = await other.subscribe(["clean-high"], "workers", prefetch=1)
        assert len(await take(second, 8)) == 8


@pytest.mark.parametrize("prefetch", [1, 4])
async def test_no_topic_starves_beside_a_full_one(environment: Environment, prefetch: int) -> None:
    async with opened(environment) as broker:
        await publish_all(broker, "clean-high", [b"many"] * 400)
        await publish_all(broker, "clean-normal", [b"few"] * 10)
        await publish_all(broker, "wake", [b"few"] * 10)
        consumer = await broker.subscribe(["clean-high", "clean-normal", "wake"], "workers", prefetch=prefetch)
        deliveries = [(await finish(consumer, 1))[0] for _ in range(200)]
        counts = Counter(delivery.topic for delivery in deliveries)
        assert (counts["clean-normal"], counts["wake"]) == (10, 10)


async def test_a_message_waits_for_a_later_subscription(environment: Environment) -> None:
    async with opened(environment) as broker, another(environment, broker) as other:
        ids = await publish_all(broker, "clean-high-workers-DLQ", [b"dead", b"letters"])
        dead_letters = await other.subscribe(["clean-high-workers-DLQ"], "failure")
        assert {delivery.message_id for delivery in await finish(dead_letters, 2)} == ids
        await shows(broker, "clean-high-workers-DLQ", "failure", ready=0, in_flight=0)


async def test_every_subscription_gets_every_message_under_the_same_id(environment: Environment) -> None:
    async with opened(environment) as broker:
        workers = await broker.subscribe(["notify"], "workers")
        early = await publish_all(broker, "notify", [b"1", b"2"])
        await take(workers, 2)
        failure = await broker.subscribe(["notify"], "failure")
        late = await publish_all(broker, "notify", [b"3", b"4"])
        await take(workers, 2)
        assert len(early | late) == 4
        assert {delivery.message_id for delivery in await finish(failure, 4)} == early | late
        await shows(broker, "notify", "failure", ready=0, in_flight=0)
        await shows(broker, "notify", "workers", ready=0, in_flight=4)


async def test_an_idle_consumer_is_woken_by_a_publish_elsewhere(environment: Environment) -> None:
    async with opened(environment) as broker, another(environment, broker) as other:
        consumer = await other.subscribe(["clean-high", "poll", "wake"], "workers")
        for topic in ("wake", "poll", "clean-high", "wake"):
            async with asyncio.TaskGroup() as tasks:
                receiving = tasks.create_task(within(consumer.receive()))
                await broker.publish(topic, topic.encode())
            assert receiving.result().topic == topic
            await consumer.ack(receiving.result())


async def test_cancelling_a_receive_loses_nothing(environment: Environment) -> None:
    total, draw = 200, random.Random(11)
    async with opened(environment) as broker:
        consumer = await broker.subscribe(["poll"], "workers", prefetch=2)
        received: list[Delivery] = []

        async def publish() -> None:
            for number in range(total):
                await broker.publish("poll", str(number).encode())

        async with asyncio.TaskGroup() as tasks:
            publishing = tasks.create_task(publish())
            while not publishing.done():
                receiving = tasks.create_task(consumer.receive())
                for _ in range(draw.randrange(8)):
                    await asyncio.sleep(0)
                receiving.cancel()
                await asyncio.wait({receiving})
                if not receiving.cancelled():
                    received.append(receiving.result())
        for delivery in received:
            await consumer.ack(delivery)
        received += await finish(consumer, total - len(received))
        assert {delivery.payload for delivery in received} == {str(number).encode() for number in range(total)}
        await shows(broker, "poll", ready=0, in_flight=0)
