"""The push: each record of an event is settled, whatever happens to the others."""

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
from tests.engine.fault_injector import dies, raises, waits
from tests.engine.harness import Harness
from transport.errors import BrokerDown
from transport.port import Delivery

LIMIT = 300.0


@pytest.fixture
def harness() -> Harness:
    return Harness(topics=())


def enveloped(delivery: Delivery) -> dict[str, Any]:
    data = {
        "topic": f"persistent://pulsar-1/default/{delivery.topic}",
        "msgId": delivery.message_id,
        "msgBody": delivery.payload.decode(),
    }
    return {"specversion": "1.0", "id": "1", "type": "connector:tdmq", "data": data}


async def taken(harness: Harness, topic: str, count: int) -> list[dict[str, Any]]:
    """Messages that EventBridge takes off the queue: it acks them whatever the function returns."""
    consumer = await harness.wire.subscribe([topic], WORKERS, prefetch=0)
    events: list[dict[str, Any]] = []
    for _ in range(count):
        delivery = await consumer.receive()
        await consumer.ack(delivery)
        events.append(enveloped(delivery))
    await consumer.close()
    return events


async def pushed(harness: Harness, events: Sequence[Any], limit: float = LIMIT, **settings: Any) -> Pushed:
    """One call of the function."""
    budget = budget_of(asyncio.get_running_loop().time(), limit, 30.0)
    return await push(records_in({"EventList": list(events)}), harness.out, budget, Settings(**settings))


async def bridge(harness: Harness, limit: float = LIMIT) -> None:
    """EventBridge brings everything, one message an event, until the queue is empty."""
    async with asyncio.timeout(7200):
        while harness.wire.open:
            consumers = {sent.topic for sent in harness.wire.open.values()}
            due = [sent for sent in harness.wire.open.values() if sent.at + sent.delay <= harness.now()]
            if not due:
                await asyncio.sleep(1)
            for topic in sorted(consumers & {sent.topic for sent in due}):
                subscription = "failure" if topic.endswith("-DLQ") else WORKERS
                consumer = await harness.wire.subscribe([topic], subscription, prefetch=0)
                delivery = await consumer.receive()
                await consumer.ack(delivery)
                await consumer.close()
                await pushed(harness, [enveloped(delivery)], limit)


def open_stages(harness: Harness) -> list[tuple[str, int, int]]:
    """Stage, seq and attempt of everything that waits."""
    return sorted((sent.header.stage, sent.header.seq, sent.header.attempt) for sent in harness.wire.open.values())


async def test_one_that_its_users_cap_puts_off_as_the_time_ends_is_published_anew(harness: Harness) -> None:
    for _ in range(2):
        await harness.order()
    events = await taken(harness, "clean-normal", 2)
    harness.injector.strike("objects.process", waits(5))
    harness.injector.strike("ledger.get .*/begun", waits(1000))
    assert (await pushed(harness, events, 30.0, user_concurrency=1)).records == 2
    assert open_stages(harness) == [("clean", 1, 0), ("generate", 0, 0)]


async def test_a_batch_of_ten_with_three_bad_ones(harness: Harness) -> None:
    runs = [await harness.order() for _ in range(8)]
    harness.injector.strike(f"objects.process input/{runs[3].user}/{runs[3].task}/", raises(Transient("once")))
    events = await taken(harness, "clean-normal", 8)
    garbled = enveloped(Delivery("9", "clean-normal", b"Hello from TDMQ!"))
    done = await pushed(harness, [*events[:4], garbled, *events[4:], {"no": "envelope"}], user_concurrency=0)
    assert done == Pushed(10, done=10, unreadable=1)
    assert open_stages(harness) == [("clean", 1, 1), ("dead", 0, 0), ("dead", 0, 0), *[("generate", 0, 0)] * 7]
    await bridge(harness)
    for run in runs:
        await harness.promise(run, "success")
    assert [record["reason"] for record in await harness.dead_letters()] == ["unreadable"] * 2


async def test_whole_tasks_by_push_alone(harness: Harness) -> None:
    runs = [await harness.order("basic_clean"), await harness.order("model_pose12")]
    await bridge(harness)
    for run in runs:
        await harness.promise(run, "success")
    assert len(harness.vendor.paid) == 1


async def test_no_record_at_all(harness: Harness) -> None:
    assert await pushed(harness, []) == Pushed(0)


async def test_what_outlasts_the_limit_goes_on_as_a_copy_and_what_was_not_begun_too(harness: Harness) -> None:
    runs = [await harness.order() for _ in range(3)]
    harness.injector.strike("objects.process", waits(50))
    events = await taken(harness, "clean-normal", 3)
    before = harness.now()
    done = await pushed(harness, events, 30.0, work_concurrency=1)
    assert harness.now() - before < 30
    assert done == Pushed(3, cut_off=1, deferred=2)
    assert open_stages(harness) == [("clean", 1, 0)] * 3
    await bridge(harness)
    for run in runs:
        await harness.promise(run, "success")


async def test_a_call_that_spent_its_time_on_its_start_begins_nothing(harness: Harness) -> None:
    run = await harness.order()
    records = records_in({"EventList": await taken(harness, "clean-normal", 1)})
    late = budget_of(asyncio.get_running_loop().time() - 22.0, 30.0, 30.0)
    assert await push(records, harness.out, late, Settings()) == Pushed(1, deferred=1)
    assert (await harness.records(run)).keys() == {"accepted"}
    await bridge(harness)
    await harness.promise(run, "success")


async def test_an_event_that_comes_again_after_its_process_died_pays_nothing_again(harness: Harness) -> None:
    run = await harness.order()
    await pushed(harness, await taken(harness, "clean-normal", 1))
    events = await taken(harness, "generate-runninghub-normal", 1)
    harness.injector.strike("vendor.create", dies(), done=True)
    with pytest.raises(Unsettled):
        await pushed(harness, events)
    assert len(harness.vendor.paid) == 1
    assert await pushed(harness, events) == Pushed(1, done=1)
    (copy,) = harness.wire.open.values()
    assert (copy.header.seq, copy.header.attempt, copy.header.isolated) == (1, 1, False)
    await bridge(harness)
    await harness.promise(run, "failed", Code.VENDOR_UNKNOWN)
    assert len(harness.vendor.paid) == 1


async def test_an_event_that_comes_again_though_it_was_done_changes_nothing(harness: Harness) -> None:
    run = await harness.order()
    await pushed(harness, await taken(harness, "clean-normal", 1))
    events = await taken(harness, "generate-runninghub-normal", 1)
    for _ in range(3):
        await pushed(harness, events)
    await bridge(harness)
    await harness.promise(run, "success")
    assert len(harness.vendor.paid) == 1


async def test_it_raises_only_when_a_record_could_not_even_be_published_and_before_its_limit(harness: Harness) -> None:
    runs = [await harness.order() for _ in range(2)]
    events = await taken(harness, "clean-normal", 2)
    harness.injector.strike("broker.publish", *[raises(BrokerDown("away"))] * 10_000)
    before = harness.now()
    with pytest.raises(Unsettled, match="2 of 2 records"):
        await pushed(harness, events, 60.0)
    assert harness.now() - before < 60
    assert not harness.wire.open
    harness.injector.clear()
    await pushed(harness, events)
    await bridge(harness)
    for run in runs:
        await harness.promise(run, "success")


async def test_a_short_absence_of_the_broker_is_waited_for(harness: Harness) -> None:
    run = await harness.order()
    events = await taken(harness, "clean-normal", 1)
    harness.injector.strike("broker.publish", *[raises(BrokerDown("away"))] * 10)
    assert await pushed(harness, events, 60.0) == Pushed(1, done=1)
    await bridge(harness)
    await harness.promise(run, "success")


async def test_paid_work_is_not_begun_without_time_for_all_of_it(harness: Harness) -> None:
    run = await harness.order()
    await pushed(harness, await taken(harness, "clean-normal", 1))
    done = await pushed(harness, await taken(harness, "generate-runninghub-normal", 1), 60.0)
    assert done == Pushed(1, deferred=1)
    (copy,) = harness.wire.open.values()
    assert (copy.header.stage, copy.header.attempt) == ("generate", 0)
    assert copy.delay >= 60
    assert not harness.vendor.paid
    # It is still for its deadline.
    await bridge(harness, limit=60.0)
    await harness.promise(run, "failed", Code.TIMEOUT)
    assert not harness.vendor.paid


async def test_a_user_with_enough_under_way_waits(harness: Harness) -> None:
    runs = [await harness.order() for _ in range(3)]
    harness.injector.strike("objects.process", waits(5), waits(5))
    done = await pushed(harness, await taken(harness, "clean-normal", 3), user_concurrency=2)
    assert done == Pushed(3, done=2, throttled=1)
    await bridge(harness)
    for run in runs:
        await harness.promise(run, "success")


async def test_dead_letters_reach_the_failure_stage(harness: Harness) -> None:
    run = await harness.order()
    harness.injector.strike("objects.process", *[raises(Transient("always"))] * 5)
    await bridge(harness)
    await harness.promise(run, "failed", Code.INTERNAL)
    assert {sent.header.stage for sent in harness.wire.sent} >= {Stage.CLEAN, Stage.DEAD}
