"""The push: each record of an event comes to some end, whatever befalls the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from consumers.runners.cloud_event import records_in
from consumers.runners.errors import Unsettled
from consumers.runners.push import Pushed, push
from consumers.runners.time_budget import budget_of
from messages.bodies import Stage
from messages.codes import Code
from messages.errors import Transient
from messages.topics import WORKERS
from runtime.settings import Settings
from tests.engine.fate import dies, raises, waits
from tests.engine.world import World
from transport.errors import BrokerDown
from transport.port import Delivery

LIMIT = 300.0


@pytest.fixture
def world() -> World:
    return World(topics=())


def enveloped(delivery: Delivery) -> dict[str, Any]:
    data = {
        "topic": f"persistent://pulsar-1/default/{delivery.topic}",
        "msgId": delivery.message_id,
        "msgBody": delivery.payload.decode(),
    }
    return {"specversion": "1.0", "id": "1", "type": "connector:tdmq", "data": data}


async def taken(world: World, topic: str, count: int) -> list[dict[str, Any]]:
    """What EventBridge takes off the queue: it acks, whatever the function makes of it."""
    consumer = await world.wire.subscribe([topic], WORKERS, prefetch=0)
    events: list[dict[str, Any]] = []
    for _ in range(count):
        delivery = await consumer.receive()
        await consumer.ack(delivery)
        events.append(enveloped(delivery))
    await consumer.close()
    return events


async def pushed(world: World, events: Sequence[Any], limit: float = LIMIT, **settings: Any) -> Pushed:
    """One call of the function."""
    budget = budget_of(asyncio.get_running_loop().time(), limit, 30.0)
    return await push(records_in({"EventList": list(events)}), world.out, budget, Settings(**settings))


async def bridge(world: World, limit: float = LIMIT) -> None:
    """EventBridge brings everything, one message an event, until the queue is empty."""
    async with asyncio.timeout(7200):
        while world.wire.open:
            consumers = {sent.topic for sent in world.wire.open.values()}
            due = [sent for sent in world.wire.open.values() if sent.at + sent.delay <= world.now()]
            if not due:
                await asyncio.sleep(1)
            for topic in sorted(consumers & {sent.topic for sent in due}):
                subscription = "failure" if topic.endswith("-DLQ") else WORKERS
                consumer = await world.wire.subscribe([topic], subscription, prefetch=0)
                delivery = await consumer.receive()
                await consumer.ack(delivery)
                await consumer.close()
                await pushed(world, [enveloped(delivery)], limit)


def open_stages(world: World) -> list[tuple[str, int, int]]:
    """Stage, seq and attempt of everything that waits."""
    return sorted((sent.header.stage, sent.header.seq, sent.header.attempt) for sent in world.wire.open.values())


async def test_one_that_its_users_cap_puts_off_as_the_time_ends_is_published_anew(world: World) -> None:
    for _ in range(2):
        await world.order()
    events = await taken(world, "clean-normal", 2)
    world.fate.strike("objects.process", waits(5))
    world.fate.strike("ledger.get .*/begun", waits(1000))
    assert (await pushed(world, events, 30.0, user_concurrency=1)).records == 2
    assert open_stages(world) == [("clean", 1, 0), ("generate", 0, 0)]


async def test_a_batch_of_ten_with_three_bad_ones(world: World) -> None:
    runs = [await world.order() for _ in range(8)]
    world.fate.strike(f"objects.process input/{runs[3].user}/{runs[3].task}/", raises(Transient("once")))
    events = await taken(world, "clean-normal", 8)
    garbled = enveloped(Delivery("9", "clean-normal", b"Hello from TDMQ!"))
    done = await pushed(world, [*events[:4], garbled, *events[4:], {"no": "envelope"}], user_concurrency=0)
    assert done == Pushed(10, done=10, unreadable=1)
    assert open_stages(world) == [("clean", 1, 1), ("dead", 0, 0), ("dead", 0, 0), *[("generate", 0, 0)] * 7]
    await bridge(world)
    for run in runs:
        await world.promise(run, "success")
    assert [record["reason"] for record in await world.desk()] == ["unreadable"] * 2


async def test_whole_tasks_by_push_alone(world: World) -> None:
    runs = [await world.order("basic_clean"), await world.order("model_pose12")]
    await bridge(world)
    for run in runs:
        await world.promise(run, "success")
    assert len(world.vendor.paid) == 1


async def test_no_record_at_all(world: World) -> None:
    assert await pushed(world, []) == Pushed(0)


async def test_what_outlasts_the_limit_goes_on_as_a_copy_and_what_was_not_begun_too(world: World) -> None:
    runs = [await world.order() for _ in range(3)]
    world.fate.strike("objects.process", waits(50))
    events = await taken(world, "clean-normal", 3)
    before = world.now()
    done = await pushed(world, events, 30.0, work_concurrency=1)
    assert world.now() - before < 30
    assert done == Pushed(3, cut_off=1, deferred=2)
    assert open_stages(world) == [("clean", 1, 0)] * 3
    await bridge(world)
    for run in runs:
        await world.promise(run, "success")


async def test_a_call_that_spent_its_time_on_its_start_begins_nothing(world: World) -> None:
    run = await world.order()
    records = records_in({"EventList": await taken(world, "clean-normal", 1)})
    late = budget_of(asyncio.get_running_loop().time() - 22.0, 30.0, 30.0)
    assert await push(records, world.out, late, Settings()) == Pushed(1, deferred=1)
    assert (await world.records(run)).keys() == {"accepted"}
    await bridge(world)
    await world.promise(run, "success")


async def test_an_event_that_comes_again_after_its_process_died_pays_nothing_again(world: World) -> None:
    run = await world.order()
    await pushed(world, await taken(world, "clean-normal", 1))
    events = await taken(world, "generate-runninghub-normal", 1)
    world.fate.strike("vendor.create", dies(), done=True)
    with pytest.raises(Unsettled):
        await pushed(world, events)
    assert len(world.vendor.paid) == 1
    assert await pushed(world, events) == Pushed(1, done=1)
    (copy,) = world.wire.open.values()
    assert (copy.header.seq, copy.header.attempt, copy.header.isolated) == (1, 1, False)
    await bridge(world)
    await world.promise(run, "failed", Code.VENDOR_UNKNOWN)
    assert len(world.vendor.paid) == 1


async def test_an_event_that_comes_again_though_it_was_done_changes_nothing(world: World) -> None:
    run = await world.order()
    await pushed(world, await taken(world, "clean-normal", 1))
    events = await taken(world, "generate-runninghub-normal", 1)
    for _ in range(3):
        await pushed(world, events)
    await bridge(world)
    await world.promise(run, "success")
    assert len(world.vendor.paid) == 1


async def test_it_raises_only_when_a_record_could_not_even_be_published_and_before_its_limit(world: World) -> None:
    runs = [await world.order() for _ in range(2)]
    events = await taken(world, "clean-normal", 2)
    world.fate.strike("broker.publish", *[raises(BrokerDown("away"))] * 10_000)
    before = world.now()
    with pytest.raises(Unsettled, match="2 of 2 records"):
        await pushed(world, events, 60.0)
    assert world.now() - before < 60
    assert not world.wire.open
    world.fate.clear()
    await pushed(world, events)
    await bridge(world)
    for run in runs:
        await world.promise(run, "success")


async def test_a_short_absence_of_the_broker_is_waited_for(world: World) -> None:
    run = await world.order()
    events = await taken(world, "clean-normal", 1)
    world.fate.strike("broker.publish", *[raises(BrokerDown("away"))] * 10)
    assert await pushed(world, events, 60.0) == Pushed(1, done=1)
    await bridge(world)
    await world.promise(run, "success")


async def test_paid_work_is_not_begun_without_time_for_all_of_it(world: World) -> None:
    run = await world.order()
    await pushed(world, await taken(world, "clean-normal", 1))
    done = await pushed(world, await taken(world, "generate-runninghub-normal", 1), 60.0)
    assert done == Pushed(1, deferred=1)
    (copy,) = world.wire.open.values()
    assert (copy.header.stage, copy.header.attempt) == ("generate", 0)
    assert copy.delay >= 60
    assert not world.vendor.paid
    # It is still for its deadline.
    await bridge(world, limit=60.0)
    await world.promise(run, "failed", Code.TIMEOUT)
    assert not world.vendor.paid


async def test_a_user_with_enough_under_way_waits(world: World) -> None:
    runs = [await world.order() for _ in range(3)]
    world.fate.strike("objects.process", waits(5), waits(5))
    done = await pushed(world, await taken(world, "clean-normal", 3), user_concurrency=2)
    assert done == Pushed(3, done=2, throttled=1)
    await bridge(world)
    for run in runs:
        await world.promise(run, "success")


async def test_dead_letters_reach_the_failure_stage(world: World) -> None:
    run = await world.order()
    world.fate.strike("objects.process", *[raises(Transient("always"))] * 5)
    await bridge(world)
    await world.promise(run, "failed", Code.INTERNAL)
    assert {sent.header.stage for sent in world.wire.sent} >= {Stage.CLEAN, Stage.DEAD}
