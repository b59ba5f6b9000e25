"""Publish, deliver, ack, release and delay."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from messages.codec import MAX_MESSAGE_BYTES
from messages.errors import MessageTooLarge
from tests.conformance.brokers.environments import Environment
from tests.conformance.brokers.helpers import (
    another,
    finish,
    opened,
    publish_all,
    shows,
    within,
)


async def test_a_broker_declares_the_expected_capabilities(environment: Environment) -> None:
    async with opened(environment) as broker:
        assert broker.capabilities == environment.capabilities


async def test_a_published_message_is_delivered_and_deleted_by_its_ack(environment: Environment) -> None:
    async with opened(environment) as broker, another(environment, broker) as other:
        consumer = await other.subscribe(["clean-high"], "workers")
        message_id = await broker.publish("clean-high", b"one")
        delivery = await within(consumer.receive())
        assert (delivery.message_id, delivery.topic, delivery.payload) == (message_id, "clean-high", b"one")
        await consumer.ack(delivery)
        await broker.publish("clean-high", b"two")
        assert [later.payload for later in await finish(consumer, 1)] == [b"two"]
        await shows(broker, "clean-high", ready=0, delayed=0, in_flight=0)


async def test_payloads_arrive_unchanged(environment: Environment) -> None:
    payloads = {b"", bytes(range(256)), "尚未上传".encode(), b"\0" * 100}
    async with opened(environment) as broker:
        consumer = await broker.subscribe(["notify"], "workers")
        await publish_all(broker, "notify", payloads)
        assert {delivery.payload for delivery in await finish(consumer, len(payloads))} == payloads


async def test_concurrent_publishes_get_distinct_ids(
    environment: Environment,
) -> None:
    payloads = [str(number).encode() for number in range(300)]
    async with opened(environment) as broker:
        consumer = await broker.subscribe(["wake"], "workers", prefetch=10)
        ids = await publish_all(broker, "wake", payloads)
        deliveries = await finish(consumer, len(payloads))
        assert len(ids) == len(payloads)
        assert {delivery.message_id for delivery in deliveries} == ids
        assert {delivery.payload for delivery in deliveries} == set(payloads)


async def test_a_message_id_is_stable_over_redelivery(environment: Environment) -> None:
    async with opened(environment) as broker:
        message_id = await broker.publish("poll", b"look")
        for _ in range(3):
            consumer = await broker.subscribe(["poll"], "workers")
            first = await within(consumer.receive())
            await consumer.release(first)
            again = await within(consumer.receive())
            assert (first.message_id, again) == (message_id, first)
            await consumer.close()


async def test_a_released_message_goes_to_another_consumer_at_once(environment: Environment) -> None:
    async with opened(environment) as broker, another(environment, broker) as other:
        message_id = await broker.publish("clean-low", b"not begun")
        consumer = await broker.subscribe(["clean-low"], "workers")
        delivery = await within(consumer.receive())
        second = await other.subscribe(["clean-low"], "workers")
        async with asyncio.TaskGroup() as tasks:
            receiving = tasks.create_task(within(second.receive()))
            await consumer.release(delivery)
        assert receiving.result().message_id == message_id
        await second.ack(receiving.result())
        await shows(broker, "clean-low", ready=0, delayed=0, in_flight=0)


async def test_a_repeated_or_late_ack_or_release_is_harmless(environment: Environment) -> None:
    async with opened(environment) as broker:
        await broker.publish("poll", b"twice")
        consumer = await broker.subscribe(["poll"], "workers")
        second = await broker.subscribe(["poll"], "workers")
        first = await within(consumer.receive())
        await consumer.release(first)
        await consumer.release(first)
        elsewhere = await within(second.receive())
        await consumer.ack(first)
        await second.ack(elsewhere)
        await second.ack(elsewhere)
        await second.release(elsewhere)
        await broker.publish("poll", b"next")
        async with asyncio.TaskGroup() as tasks:
            receiving = tasks.create_task(within(second.receive()))
        assert receiving.result().payload == b"next"
        await second.ack(receiving.result())
        await shows(broker, "poll", ready=0, delayed=0, in_flight=0)


async def test_the_limit_of_a_message(environment: Environment) -> None:
    async with opened(environment) as broker:
        largest = b"x" * MAX_MESSAGE_BYTES
        with pytest.raises(MessageTooLarge):
            await broker.publish("clean-high", largest + b"x")
        await broker.publish("clean-high", largest)
        consumer = await broker.subscribe(["clean-high"], "workers")
        assert [delivery.payload for delivery in await finish(consumer, 1)] == [largest]
        await shows(broker, "clean-high", ready=0, delayed=0, in_flight=0)


async def test_a_delayed_message_is_never_early_and_wakes_a_waiting_receive(environment: Environment) -> None:
    async with opened(environment) as broker, another(environment, broker) as other:
        consumer = await other.subscribe(["poll"], "workers", prefetch=5)
        due: dict[str, float] = {}
        arrived: dict[str, float] = {}

        async def receive() -> None:
            for _ in range(30):
                delivery = await within(consumer.receive())
                arrived[delivery.message_id] = time.time()
                await consumer.ack(delivery)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(receive())
            for number in range(30):
                delay = 0.1 + number % 10 * 0.04
                earliest = time.time() + delay
                due[await broker.publish("poll", b"later", delay=delay)] = earliest
        assert arrived.keys() == due.keys()
        assert min(arrived[message_id] - earliest for message_id, earliest in due.items()) >= 0


async def test_new_messages_are_not_delayed_by_delayed_ones(environment: Environment) -> None:
    async with opened(environment) as broker:
        draw = random.Random(7)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(1000):
                tasks.create_task(broker.publish("poll", b"later", delay=3600 * draw.uniform(0.8, 1.2)))
        consumer = await broker.subscribe(["poll"], "workers")
        for number in range(20):
            fresh = str(number).encode()
            await broker.publish("poll", fresh)
            assert [delivery.payload for delivery in await finish(consumer, 1)] == [fresh]
        await shows(broker, "poll", ready=0, delayed=1000, in_flight=0)
