"""Crash copies run isolated without holding up their neighbours for long."""

from __future__ import annotations

import asyncio
import zlib

import pytest

from bench.queueing import after_a_kill, behind_a_paid_call
from messages.bodies import Clean, Job, Poll, Stage, Wake
from messages.codec import decode
from messages.topics import topic_of
from tasks.ledger.records import Begun
from tests.engine.fault_injector import calls, raises, waits
from tests.engine.harness import Harness
from tests.engine.test_pump import pumping, seen, until_empty
from transport.errors import BrokerDown


@pytest.fixture
def harness() -> Harness:
    return Harness(topics=())


async def test_short_tasks_do_not_wait_for_a_crash_copy_that_waits_for_a_paid_call() -> None:
    """Before the gate's wait was bounded: 62 s."""
    assert await behind_a_paid_call() < 6


async def test_a_process_that_was_killed_once_has_its_work_done_side_by_side() -> None:
    """Before crash copies were isolated from the second crash on: 320 s."""
    assert await after_a_kill() < 50


async def crash_copy(harness: Harness, *, left: float = 1800.0) -> str:
    """Publish a copy that runs isolated, with this many seconds until its deadline."""
    run = await harness.upload("basic_clean")
    harness.injector.strike("broker.publish clean", raises(BrokerDown("away")))
    with pytest.raises(BrokerDown):
        await harness.take_in(run)
    deadline = int(left * 1000)
    await harness.say(run, Stage.CLEAN, Clean(), kind="basic_clean", seq=1, attempt=2, isolated=True, deadline=deadline)
    return run.task


async def test_looks_go_on_beside_one_that_is_isolated(harness: Harness) -> None:
    await crash_copy(harness)
    harness.injector.strike("objects.process", waits(50))
    async with pumping(harness):
        await seen(harness, "objects.process")
        run = await harness.order()
        await harness.wake(run)
        before = harness.now()
        await seen(harness, f"ledger.list .*/{run.task}/.*/begun-")
        assert harness.now() - before < 1
        assert harness.injector.count(f"objects.process input/.*/{run.task}/") == 0
        await until_empty(harness)
    await harness.promise(run, "success")


async def test_a_wait_in_vain_costs_no_attempt_and_the_copy_is_isolated_in_the_end(harness: Harness) -> None:
    inside: set[str] = set()
    beside: list[set[str]] = []

    async def watch(place: str, *, done: bool) -> None:
        if place.startswith("objects.process input/"):
            task = place.split("/")[2]
            (inside.discard if done else inside.add)(task)
            beside.append(set(inside))
            await asyncio.sleep(0 if done else 20)

    async def keep_busy() -> None:
        while True:
            await harness.order("basic_clean")
            await asyncio.sleep(7)

    harness.injector.hook = watch
    async with pumping(harness, concurrency=4):
        stream = asyncio.create_task(keep_busy())
        await seen(harness, "objects.process", 3)
        killer = await crash_copy(harness)
        await seen(harness, f"objects.process input/.*/{killer}/")
        stream.cancel()
        await until_empty(harness)
    assert [group for group in beside if killer in group] == [{killer}]
    copies = [sent.header for sent in harness.wire.sent if sent.header.task == killer and sent.header.isolated]
    assert len(copies) > 1
    assert {copy.attempt for copy in copies} == {2}


async def test_a_copy_that_would_be_isolated_too_late_runs_beside_the_others(harness: Harness) -> None:
    harness.injector.strike("vendor.create", waits(80))
    async with pumping(harness):
        await harness.order()
        await seen(harness, "vendor.create")
        killer = await crash_copy(harness, left=66.0)
        before = harness.now()
        await seen(harness, f"objects.process input/.*/{killer}/")
        assert harness.now() - before < 5
        await until_empty(harness)


async def test_a_copy_whose_holder_died_again_is_found_while_the_gate_is_shut(harness: Harness) -> None:
    """It has a mark: published again unchanged, it would be rejected because of it."""
    harness.injector.strike("vendor.create", waits(80))
    async with pumping(harness):
        run = await harness.order()
        await seen(harness, "vendor.create")
        await crash_copy(harness)
        (copy,) = [sent for sent in harness.wire.open.values() if sent.header.isolated]
        begun = Begun(copy.id, 2, 60.0)
        await harness.ledger.write(copy.header.run_id, Begun.at("clean", 1), begun)
        await until_empty(harness)
    await harness.promise(run, "success")
    await harness.promise(copy.header.run_id, "success")


@pytest.mark.parametrize("stage", [Stage.POLL, Stage.WAKE])
async def test_a_light_crash_copy_that_had_begun_is_not_published_again_unchanged(
    harness: Harness, stage: Stage
) -> None:
    """Its mark would stop that, and the chain of polls would end."""
    run = await harness.order("basic_clean")
    body = Poll((Job(1, "job1"),), 0) if stage is Stage.POLL else Wake("cancel")
    # A wake need not name its run.
    number = -1 if stage is Stage.WAKE else 0
    await harness.say(run, stage, body, number=number, seq=3, attempt=1, isolated=True)
    consumer = await harness.wire.subscribe([topic_of(stage)], "workers", prefetch=0)
    delivery = await consumer.receive()
    message = decode(delivery.payload)
    slot = 1 if stage is Stage.POLL else 1 + zlib.crc32(delivery.message_id.encode())
    await harness.ledger.write(run, Begun.at(stage, 3, slot), Begun(delivery.message_id, 1, 15.0))
    assert not await harness.engine.throttle(delivery, consumer, message, 3.0)


async def test_a_throttled_message_goes_on_though_another_process_begins_it_meanwhile_and_dies(
    harness: Harness,
) -> None:
    """The throttling process froze until others had its message; an unchanged copy would meet the mark of one that
    died."""
    run = await harness.order("basic_clean")
    consumer = await harness.wire.subscribe([topic_of(Stage.CLEAN)], "workers", prefetch=0)
    delivery = await consumer.receive()

    async def begin() -> None:
        await harness.ledger.write(run, Begun.at(Stage.CLEAN, 0), Begun(delivery.message_id, 0, 60.0))

    harness.injector.strike("broker.publish clean", calls(begin))
    assert await harness.engine.throttle(delivery, consumer, decode(delivery.payload), 1.0)
    await consumer.close()
    async with pumping(harness):
        await until_empty(harness)
    await harness.promise(run, "success")
