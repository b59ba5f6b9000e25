"""The pump: bounded concurrency, a stop that finishes begun messages, and crash copies that run alone."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from consumers.runners.dispatcher import DeliveryOutcome, Dispatcher
from consumers.runners.pump import Pump
from consumers.runners.worker import keys_of, permits_of
from messages.bodies import Clean, Stage
from messages.codec import Priority, decode
from messages.topics import WORKERS
from services.errors import ObjectsDown
from tasks.ledger.records import Begun, Verdict
from tests.engine.fault_injector import raises, waits
from tests.engine.harness import Harness
from tests.engine.standins import Create
from transport.errors import BrokerDown
from transport.port import Consumer, Delivery

MANY = 12


@pytest.fixture
def harness() -> Harness:
    return Harness(topics=())


@asynccontextmanager
async def pumping(
    harness: Harness, *, concurrency: int = 8, grace: float = 30.0, user_cap: int = 0
) -> AsyncIterator[Pump]:
    """A pump at work, which is stopped at the end and must then return."""
    dispatcher = Dispatcher(harness.engine, user_cap=user_cap)
    pump = Pump(
        harness.wire,
        dispatcher,
        harness.pauses,
        keys=keys_of(harness.out),
        most=permits_of(harness.out),
        concurrency=concurrency,
        grace=grace,
    )
    running = asyncio.create_task(pump.run())
    try:
        yield pump
    finally:
        pump.stop()
        await asyncio.wait_for(running, 3600)


async def until_empty(harness: Harness) -> None:
    async with asyncio.timeout(7200):
        while harness.wire.open:  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(1)


async def seen(harness: Harness, place: str, times: int = 1) -> None:
    """Return when an effect has begun so often."""
    async with asyncio.timeout(7200):
        while harness.injector.count(place) < times:  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.01)


async def test_many_tasks_at_once_end_with_one_verdict_each_and_the_book_balanced(harness: Harness) -> None:
    harness.vendor.creates.extend([Create(accepted=False, answer="full")] * 3)
    async with pumping(harness):
        runs = [await harness.order("basic_clean" if n % 4 == 3 else "model_pose12") for n in range(MANY)]
        await until_empty(harness)
    for run in runs:
        await harness.promise(run, "success")
        assert harness.heard(run) == ["success"]
    assert harness.backend.book.totals() == {"charged": MANY, "refunded": 0}
    assert len(harness.vendor.paid) == MANY * 3 // 4


async def test_what_has_begun_is_finished_within_the_grace(harness: Harness) -> None:
    run = await harness.order()
    harness.injector.strike("objects.process", waits(20))
    async with pumping(harness, grace=30):
        await seen(harness, "objects.process")
    assert [sent.header.stage for sent in harness.wire.open.values()] == ["generate"]
    assert {sent.header.attempt for sent in harness.wire.sent} == {0}
    async with pumping(harness):
        await until_empty(harness)
    await harness.promise(run, "success")


async def test_what_outlasts_the_grace_goes_on_as_a_copy_with_the_same_attempt(harness: Harness) -> None:
    run = await harness.order()
    harness.injector.strike("objects.process", waits(55))
    before = harness.now()
    async with pumping(harness, grace=10):
        await seen(harness, "objects.process")
    assert harness.now() - before < 15
    (copy,) = harness.wire.open.values()
    assert (copy.header.stage, copy.header.seq, copy.header.attempt, copy.header.isolated) == ("clean", 1, 0, False)
    async with pumping(harness):
        await until_empty(harness)
    await harness.promise(run, "success")


async def test_what_was_not_begun_is_given_back_as_it_was(harness: Harness) -> None:
    runs = [await harness.order() for _ in range(5)]
    harness.injector.strike("objects.process", waits(20))
    async with pumping(harness, concurrency=1):
        await seen(harness, "objects.process")
    waiting = [sent for sent in harness.wire.open.values() if sent.header.stage == "clean"]
    assert len(waiting) == 4
    assert {sent.header.seq for sent in waiting} == {0}
    async with pumping(harness):
        await until_empty(harness)
    for run in runs:
        await harness.promise(run, "success")


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_a_stage_works_on_so_many_at_once_and_no_more(harness: Harness, concurrency: int) -> None:
    busy, most = 0, 0

    async def count(place: str, *, done: bool) -> None:
        nonlocal busy, most
        if place.startswith("objects.process"):
            busy += -1 if done else 1
            most = max(most, busy)
            await asyncio.sleep(0 if done else 5)

    harness.injector.hook = count
    runs = [await harness.order("basic_clean") for _ in range(7)]
    async with pumping(harness, concurrency=concurrency):
        await until_empty(harness)
    for run in runs:
        await harness.promise(run, "success")
    assert most == concurrency


async def test_a_copy_made_because_of_a_crash_runs_alone(harness: Harness) -> None:
    """The next crash is the copy's own, and kills no neighbour."""
    inside: list[str] = []
    beside: list[tuple[str, ...]] = []

    async def watch(place: str, *, done: bool) -> None:
        if place.startswith("objects.process input/"):
            task = place.split("/")[2]
            if done:
                inside.remove(task)
            else:
                inside.append(task)
                beside.append(tuple(inside))
                await asyncio.sleep(3)

    harness.injector.hook = watch
    runs = [await harness.order("basic_clean") for _ in range(3)]
    killer = await harness.upload("basic_clean")
    harness.injector.strike("broker.publish", raises(BrokerDown("away")))
    with pytest.raises(BrokerDown):
        await harness.take_in(killer)
    await harness.say(killer, Stage.CLEAN, Clean(), kind="basic_clean", seq=1, attempt=1, isolated=True)
    runs += [killer, *[await harness.order("basic_clean") for _ in range(3)]]
    async with pumping(harness):
        await until_empty(harness)
    for run in runs:
        await harness.promise(run, "success")
    assert [group for group in beside if killer.task in group] == [(killer.task,)]
    assert max(map(len, beside)) == 3


@pytest.mark.parametrize("share", [1, 3])
async def test_paid_calls_at_once_are_the_share_of_this_process_and_none_is_put_off(
    harness: Harness, share: int
) -> None:
    harness.shares = {harness.vendor.name: share}
    harness.open_vendors()
    busy, most = 0, 0

    async def count(place: str, *, done: bool) -> None:
        nonlocal busy, most
        if place.startswith("vendor.create"):
            busy += -1 if done else 1
            most = max(most, busy)
            await asyncio.sleep(0 if done else 20)

    harness.injector.hook = count
    runs = [await harness.order() for _ in range(7)]
    async with pumping(harness) as pump:
        permits = {group.topics[0]: group.permits for group in pump.state().groups}
        await until_empty(harness)
    for run in runs:
        await harness.promise(run, "success")
    assert most == share
    assert {header.seq for header in harness.sent("generate")} == {0}
    assert permits["generate-runninghub-high"] == share
    assert permits["collect"] == 8


async def test_a_topic_rests_while_the_vendor_is_full_and_the_others_go_on(harness: Harness) -> None:
    harness.vendor.full = 2
    async with pumping(harness):
        runs = [await harness.order()]
        await seen(harness, "vendor.room")
        await asyncio.sleep(1)
        runs += [await harness.order() for _ in range(5)]
        quick = await harness.order("basic_clean")
        await asyncio.sleep(25)
        assert harness.heard(quick) == ["success"]
        # Permits that were waiting release the messages that still arrive.
        assert harness.injector.count("vendor.room") == 1
        await until_empty(harness)
    for run in (*runs, quick):
        await harness.promise(run, "success")


async def test_an_outage_of_the_store_costs_no_task_anything(harness: Harness) -> None:
    harness.injector.strike("ledger.put_new .*/begun", *[raises(ObjectsDown("away"))] * 30)
    async with pumping(harness):
        runs = [await harness.order() for _ in range(4)]
        await until_empty(harness)
    for run in runs:
        await harness.promise(run, "success")
    assert {sent.header.attempt for sent in harness.wire.sent} == {0}


async def test_an_ack_that_fails_does_not_end_the_process(harness: Harness) -> None:
    harness.injector.strike("broker.ack", *[raises(BrokerDown("away"))] * 3)
    async with pumping(harness):
        run = await harness.order()
        await until_empty(harness)
    await harness.promise(run, "success")
    assert len(harness.vendor.paid) == 1


async def test_a_user_with_many_tasks_leaves_room_for_another_and_pays_no_attempt(harness: Harness) -> None:
    """Forty tasks of one user wait before the first of another comes."""
    busy: list[str] = []
    most = 0

    async def watch(place: str, *, done: bool) -> None:
        nonlocal most
        if place.startswith("objects.process input/"):
            user = place.split("/")[1]
            (busy.remove if done else busy.append)(user)
            most = max(most, busy.count("u1"))
            await asyncio.sleep(0 if done else 20)

    harness.injector.hook = watch
    flood = [await harness.order("basic_clean") for _ in range(40)]
    async with pumping(harness, concurrency=4, user_cap=2):
        await seen(harness, "objects.process", 2)
        other = await harness.order("basic_clean", user="u2")
        before = harness.now()
        while harness.heard(other) != ["success"]:  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(1)
        assert harness.now() - before < 60
        await until_empty(harness)
    for run in (*flood, other):
        await harness.promise(run, "success")
    # While the other user had nothing, the cap yielded; one permit stayed free.
    assert most == 3
    assert {sent.header.attempt for sent in harness.wire.sent} == {0}


async def test_a_task_that_is_put_off_still_keeps_its_deadline(harness: Harness) -> None:
    harness.injector.strike("objects.process", *[waits(55)] * 400)
    flood = [await harness.order("basic_clean") for _ in range(60)]
    started = harness.now()
    async with pumping(harness, concurrency=4, user_cap=1):
        await until_empty(harness)
    ends = [harness.heard(run) for run in flood]
    assert ["failed"] in ends
    assert ["success"] in ends
    deadline = harness.recipes["basic_clean"].deadline_s
    verdicts = [await harness.ledger.read(run, Verdict.at()) for run in flood]
    assert max(verdict.at for verdict in verdicts if verdict) - started < deadline + 60


async def test_what_an_earlier_process_began_is_found_and_not_put_off(harness: Harness) -> None:
    run = await harness.order()
    delivery, consumer = await held(harness, "clean-normal")
    begun = Begun(delivery.message_id, 0, 60.0)
    await harness.ledger.write(run, Begun.at("clean", 0), begun)
    assert not await harness.engine.throttle(delivery, consumer, decode(delivery.payload), 1.0)
    await consumer.release(delivery)
    async with pumping(harness, user_cap=1):
        await until_empty(harness)
    await harness.promise(run, "success")


async def held(harness: Harness, topic: str) -> tuple[Delivery, Consumer]:
    consumer = await harness.wire.subscribe([topic], WORKERS, prefetch=0)
    return await asyncio.wait_for(consumer.receive(), 60), consumer


async def test_urgent_tasks_overtake_and_none_starves(harness: Harness) -> None:
    order: list[str] = []

    async def watch(place: str, *, done: bool) -> None:
        if place.startswith("objects.process input/") and not done:
            order.append(names[place.split("/")[2]])
            await asyncio.sleep(5)

    harness.injector.hook = watch
    names = {}
    for priority in (Priority.LOW, Priority.NORMAL, Priority.HIGH):
        for _ in range(10):
            run = await harness.order("basic_clean", priority=priority)
            names[run.task] = priority.name
    async with pumping(harness, concurrency=1):
        await until_empty(harness)
    assert Counter(order[:10]) == {"HIGH": 6, "NORMAL": 3, "LOW": 1}


async def test_nothing_that_pays_is_begun_without_time_for_all_of_it(harness: Harness) -> None:
    run = await harness.order()
    loop = asyncio.get_running_loop()
    dispatcher = Dispatcher(harness.engine)
    pump = Pump(harness.wire, dispatcher, harness.pauses, until=loop.time() + 100, reserve=150)
    running = asyncio.create_task(pump.run())
    await seen(harness, "broker.publish generate")
    await asyncio.sleep(99)
    assert not harness.vendor.paid
    pump.stop()
    await running
    assert dispatcher.counts == {DeliveryOutcome.DONE: 1}
    async with pumping(harness):
        await until_empty(harness)
    await harness.promise(run, "success")


async def test_a_pump_says_how_long_it_had_nothing_to_do(harness: Harness) -> None:
    dispatcher = Dispatcher(harness.engine)
    harness.injector.strike("objects.process", waits(20))
    pump = Pump(harness.wire, dispatcher, harness.pauses)
    running = asyncio.create_task(pump.run())
    await asyncio.sleep(10)
    assert dispatcher.idle_s == 10
    await harness.order("basic_clean")
    await seen(harness, "objects.process")
    assert dispatcher.idle_s == 0
    await asyncio.sleep(30)
    assert 5 < dispatcher.idle_s < 15
    pump.stop()
    await running


async def test_what_waits_for_one_that_runs_alone_goes_back_and_pays_nothing_too_late(harness: Harness) -> None:
    """A lone message ends when there is no time left for paid work that waited for it."""
    loop = asyncio.get_running_loop()
    killer, run = await harness.upload("basic_clean"), await harness.order()
    await harness.say(killer, Stage.CLEAN, Clean(), kind="basic_clean", seq=1, attempt=1, isolated=True)
    harness.injector.strike("broker.publish clean", raises(BrokerDown("away")))
    with pytest.raises(BrokerDown):
        await harness.take_in(killer)
    harness.injector.strike(f"objects.process input/.*{killer.task}", waits(50))
    dispatcher = Dispatcher(harness.engine)
    pump = Pump(harness.wire, dispatcher, harness.pauses, until=loop.time() + 190, reserve=150)
    running = asyncio.create_task(pump.run())
    await asyncio.sleep(180)
    assert not harness.vendor.paid
    pump.stop()
    await running
    assert {sent.header.attempt for sent in harness.wire.open.values()} == {0}
    async with pumping(harness):
        await until_empty(harness)
    await harness.promise(run, "success")
    await harness.promise(killer, "success")


async def test_a_pump_that_is_let_in_nowhere_near_everywhere_leaves_nothing_open(harness: Harness) -> None:
    opened: list[Consumer] = []
    closed: list[Consumer] = []
    inner = harness.wire.subscribe

    async def subscribe(topics: Sequence[str], subscription: str, *, prefetch: int = 1) -> Consumer:
        if topics == ["wake"]:
            raise BrokerDown("not there")
        consumer = await inner(topics, subscription, prefetch=prefetch)
        opened.append(consumer)
        close = consumer.close

        async def shut() -> None:
            closed.append(consumer)
            await close()

        consumer.close = shut  # type: ignore[method-assign]
        return consumer

    harness.wire.subscribe = subscribe  # type: ignore[method-assign]
    with pytest.raises(BrokerDown):
        await Pump(harness.wire, Dispatcher(harness.engine), harness.pauses).run()
    assert len(opened) > 10
    assert closed == opened


async def test_a_user_at_the_cap_meets_an_outage_as_everybody_does(harness: Harness) -> None:
    """No message is released and received in a tight loop."""
    harness.injector.strike("objects.process", waits(30))
    runs = [await harness.order("basic_clean")]
    async with pumping(harness, user_cap=1):
        await seen(harness, "objects.process")
        harness.injector.strike("ledger.get .*/begun", *[raises(ObjectsDown("away"))] * 1000)
        runs += [await harness.order("basic_clean") for _ in range(3)]
        await asyncio.sleep(10)
        # Messages that are put off read their marks, and so does the end of a run for its entry among the delivered.
        assert harness.injector.count("ledger.get .*/begun") < 30
        harness.injector.clear()
        await until_empty(harness)
    for run in runs:
        await harness.promise(run, "success")
