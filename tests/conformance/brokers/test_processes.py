"""Processes that are killed, that hang, and that share nothing."""

from __future__ import annotations

import asyncio
import signal

import pytest

from tests.conformance.brokers.environments import Environment, lasting, private, shared
from tests.conformance.brokers.helpers import finish, holder, opened, publish_all, shows, within

pytestmark = pytest.mark.slow


@shared
async def test_a_killed_holders_messages_go_to_a_waiting_consumer_at_once(environment: Environment) -> None:
    async with opened(environment) as broker:
        ids = await publish_all(broker, "generate-runninghub-high", [b"paid"] * 3)
        async with holder(environment, "generate-runninghub-high", count=3) as dying:
            assert set(dying.ids) == ids
            consumer = await broker.subscribe(["generate-runninghub-high"], "workers")
            async with asyncio.TaskGroup() as tasks:
                receiving = tasks.create_task(within(consumer.receive()))
                await shows(broker, "generate-runninghub-high", ready=0, in_flight=3)
                dying.send(signal.SIGKILL)
            await consumer.ack(receiving.result())
            rest = await finish(consumer, 2)
        deliveries = [receiving.result(), *rest]
        assert {delivery.message_id for delivery in deliveries} == ids
        # If the broker knows of the death, the messages need not wait for a holder that may be alive.
        assert {delivery.holder_died for delivery in deliveries} == {broker.capabilities.knows_dead_holders}
        await shows(broker, "generate-runninghub-high", ready=0, in_flight=0)


@shared
async def test_a_killed_holders_messages_wait_for_the_next_consumer(environment: Environment) -> None:
    async with opened(environment) as broker:
        ids = await publish_all(broker, "clean-high", [b"x"] * 4)
        async with holder(environment, "clean-high", count=2):
            pass
        await shows(broker, "clean-high", ready=4, in_flight=0)
        consumer = await broker.subscribe(["clean-high"], "workers")
        assert {delivery.message_id for delivery in await finish(consumer, 4)} == ids


@shared
async def test_each_of_several_killed_holders_is_detected(environment: Environment) -> None:
    async with opened(environment) as broker:
        for _ in range(3):
            message_id = await broker.publish("clean-low", b"x")
            async with holder(environment, "clean-low", count=1) as dying:
                assert dying.ids == [message_id]
                consumer = await broker.subscribe(["clean-low"], "workers")
            assert [delivery.message_id for delivery in await finish(consumer, 1)] == [message_id]
            await consumer.close()


@shared
@pytest.mark.timeout(600)  # a stock broker notices after a minute
async def test_a_holder_that_hangs_loses_its_messages_and_may_still_ack(environment: Environment) -> None:
    async with opened(environment, impatient=True) as broker:
        ids = await publish_all(broker, "generate-runninghub-low", [b"x"] * 2)
        async with holder(environment, "generate-runninghub-low", count=2, impatient=True) as hanging:
            consumer = await broker.subscribe(["generate-runninghub-low"], "workers")
            await hanging.freeze(broker)
            try:
                deliveries = await finish(consumer, 2)
            finally:
                hanging.send(signal.SIGCONT)
            assert {delivery.message_id for delivery in deliveries} == ids
            assert not any(delivery.holder_died for delivery in deliveries)
            await hanging.tell("ack")
            assert await hanging.line() == "acked"
            await broker.publish("generate-runninghub-low", b"next")
            assert [delivery.payload for delivery in await finish(consumer, 1)] == [b"next"]
        await shows(broker, "generate-runninghub-low", ready=0, in_flight=0)


@shared
@pytest.mark.timeout(600)  # a stock broker notices after a minute
async def test_the_death_of_a_later_holder_does_not_prove_the_death_of_an_earlier_one(environment: Environment) -> None:
    async with opened(environment, impatient=True) as broker:
        await publish_all(broker, "clean-low", [b"x"])
        async with holder(environment, "clean-low", count=1, impatient=True) as hanging:
            await hanging.freeze(broker)
            try:
                async with holder(environment, "clean-low", count=1, impatient=True):
                    pass
                consumer = await broker.subscribe(["clean-low"], "workers")
                (delivery,) = await finish(consumer, 1)
            finally:
                hanging.send(signal.SIGCONT)
        assert not delivery.holder_died


@shared
@pytest.mark.timeout(600)  # a stock broker notices after a minute
async def test_a_live_holder_keeps_its_messages(environment: Environment) -> None:
    async with opened(environment, impatient=True) as broker:
        ids = await publish_all(broker, "poll", [b"x"])
        async with holder(environment, "poll", count=1, impatient=True) as living:
            consumer = await broker.subscribe(["poll"], "workers")
            async with asyncio.TaskGroup() as tasks:
                receiving = tasks.create_task(consumer.receive())
                done, _ = await asyncio.wait({receiving}, timeout=2.5 * environment.hang_limit)
                assert not done
                await living.tell("ack")
                assert await living.line() == "acked"
                receiving.cancel()
            assert set(living.ids) == ids
            await shows(broker, "poll", ready=0, in_flight=0)


@lasting
async def test_confirmed_messages_of_a_killed_process_are_delivered(environment: Environment) -> None:
    async with opened(environment) as broker:
        consumer = await broker.subscribe(["wake"], "workers", prefetch=0)
        async with holder(environment, "wake", publish=20) as publisher:
            assert len(set(publisher.ids)) == 20
        assert {delivery.message_id for delivery in await finish(consumer, 20)} == set(publisher.ids)


@private
async def test_a_broker_that_declares_itself_private_shares_nothing(environment: Environment) -> None:
    async with opened(environment) as broker, opened(environment) as stranger:
        consumer = await stranger.subscribe(["wake"], "workers")
        await broker.publish("wake", b"mine")
        await stranger.publish("wake", b"its own")
        assert [delivery.payload for delivery in await finish(consumer, 1)] == [b"its own"]
        await shows(stranger, "wake", ready=0, in_flight=0)
        await shows(broker, "wake", ready=1, in_flight=0)
