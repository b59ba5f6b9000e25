"""Backlogs, with messages in every state."""

from __future__ import annotations

import time

from tests.conformance.brokers.environments import Environment
from tests.conformance.brokers.helpers import another, eventually, finish, opened, publish_all, shows, take, within


async def test_an_unknown_topic_has_an_empty_backlog(environment: Environment) -> None:
    async with opened(environment) as broker:
        backlog = await shows(broker, "wake", ready=0, delayed=0, in_flight=0)
        assert (backlog.depth, backlog.oldest_age) == (0, 0.0)


async def test_the_figures_follow_a_message(environment: Environment) -> None:
    async with opened(environment) as broker, another(environment, broker) as other:
        consumer = await broker.subscribe(["poll"], "workers", prefetch=0)
        await publish_all(other, "poll", [b"now"] * 3)
        await publish_all(other, "poll", [b"later"] * 2, delay=3600)
        await shows(other, "poll", ready=3, delayed=2, in_flight=0, depth=5)
        held = await take(consumer, 2)
        await shows(other, "poll", ready=1, delayed=2, in_flight=2, depth=5)
        await consumer.release(held[0])
        await shows(other, "poll", ready=2, delayed=2, in_flight=1, depth=5)
        await consumer.ack(held[1])
        await shows(other, "poll", ready=2, delayed=2, in_flight=0, depth=4)
        await take(consumer, 1)
        await consumer.close()
        await shows(other, "poll", ready=2, delayed=2, in_flight=0, depth=4)


async def test_messages_count_before_the_first_consumer(environment: Environment) -> None:
    async with opened(environment) as broker:
        await publish_all(broker, "clean-high", [b"start a worker"] * 3)
        await shows(broker, "clean-high", ready=3, in_flight=0)
        await shows(broker, "clean-low", ready=0, in_flight=0)


async def test_a_prefetched_message_is_in_flight(environment: Environment) -> None:
    async with opened(environment) as broker:
        await publish_all(broker, "clean-high", [b"x"] * 5)
        consumer = await broker.subscribe(["clean-high"], "workers", prefetch=1)
        await within(consumer.receive())
        await shows(broker, "clean-high", ready=3, in_flight=2)


async def test_a_delayed_message_becomes_ready(environment: Environment) -> None:
    async with opened(environment) as broker:
        await broker.publish("poll", b"soon", delay=0.2)
        await shows(broker, "poll", ready=0, delayed=1)

        async def ready() -> bool:
            return (await broker.backlog("poll", "workers")).ready == 1

        await eventually(ready)
        await shows(broker, "poll", ready=1, delayed=0)


async def test_the_oldest_age_is_that_of_the_oldest_ready_message(environment: Environment) -> None:
    async with opened(environment) as broker:
        started = time.time()
        await broker.publish("wake", b"old")
        stored = time.time()

        async def aged() -> bool:
            return (await broker.backlog("wake", "workers")).oldest_age > 0.2

        await eventually(aged)
        await broker.publish("wake", b"young")
        await broker.publish("wake", b"later", delay=3600)
        asked = time.time()
        age = (await broker.backlog("wake", "workers")).oldest_age
        if broker.capabilities.exact_backlog:
            assert asked - stored <= age <= time.time() - started
        consumer = await broker.subscribe(["wake"], "workers", prefetch=0)
        await finish(consumer, 2)
        assert (await shows(broker, "wake", ready=0, delayed=1)).oldest_age == 0.0
