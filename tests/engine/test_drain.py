"""The drain: it ends when nothing comes or its time is over, and lets go of everything."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from consumers.runners.drain import Drained, drain
from consumers.runners.errors import Unsettled
from consumers.runners.time_budget import budget_of
from runtime.settings import Settings
from tests.engine.fate import raises, waits
from tests.engine.world import World
from transport.errors import BrokerDown


@pytest.fixture
def world() -> World:
    return World(topics=())


async def drained(world: World, limit: float = 900.0, *topics: str, **settings: Any) -> Drained:
    budget = budget_of(asyncio.get_running_loop().time(), limit, 30.0)
    return await drain(world.out, budget, topics=topics, settings=Settings(**settings))


async def until_empty(world: World, limit: float = 900.0) -> None:
    """A timer calls, until nothing waits."""
    async with asyncio.timeout(7200):
        while world.wire.open:
            await drained(world, limit)
            await asyncio.sleep(5)


async def test_whole_tasks_by_calls_of_a_timer(world: World) -> None:
    runs = [await world.order("basic_clean" if n % 4 == 3 else "model_pose12") for n in range(8)]
    await until_empty(world)
    for run in runs:
        await world.promise(run, "success")
    assert len(world.vendor.paid) == 6


async def test_nothing_to_do(world: World) -> None:
    found = await drained(world)
    assert (found.done, found.ended) == (0, "empty")
    assert 1.0 <= found.seconds < 2.0


async def test_two_at_once_share_the_work(world: World) -> None:
    runs = [await world.order("basic_clean") for _ in range(10)]
    first, second = await asyncio.gather(drained(world), drained(world))
    assert first.done + second.done == 10
    for run in runs:
        await world.promise(run, "success")


async def test_what_has_begun_when_time_runs_out_ends_within_the_grace(world: World) -> None:
    run = await world.order("basic_clean")
    world.fate.strike("objects.process", waits(23))
    found = await drained(world, 30.0, "clean-normal")
    assert (found.done, found.cut_off, found.ended) == (1, 0, "time")
    assert found.seconds < 30
    await world.promise(run, "success")


async def test_what_outlasts_the_limit_goes_on_as_a_copy_with_the_same_attempt(world: World) -> None:
    run = await world.order()
    await world.order()
    world.fate.strike("objects.process", waits(50), waits(50))
    found = await drained(world, 30.0, "clean-normal", work_concurrency=1)
    assert (found.done, found.cut_off, found.ended) == (0, 1, "time")
    assert found.seconds < 27
    stages = sorted((sent.header.stage, sent.header.seq, sent.header.attempt) for sent in world.wire.open.values())
    assert stages == [("clean", 0, 0), ("clean", 1, 0)]
    await until_empty(world)
    await world.promise(run, "success")


async def test_paid_work_is_not_begun_late(world: World) -> None:
    run = await world.order()
    world.fate.strike("objects.process", waits(40))
    # Clean ends after 40 s; then the 150 s of a paid call do not fit into what is left of 180 s.
    found = await drained(world, 180.0)
    assert (found.done, world.sent("generate")[0].seq) == (1, 0)
    assert not world.vendor.paid
    await until_empty(world)
    await world.promise(run, "success")
    assert len(world.vendor.paid) == 1


async def test_a_broker_that_stays_away_does_not_hold_it_beyond_its_limit(world: World) -> None:
    run = await world.order("basic_clean")
    world.fate.strike("objects.process", waits(50))
    world.fate.strike("broker.publish", *[raises(BrokerDown("away"))] * 10_000)
    before = world.now()
    with pytest.raises(Unsettled):
        await drained(world, 30.0, "clean-normal")
    assert world.now() - before < 30
    # The broker delivers again what it still holds, once the connection is gone; here the consumer gave it back.
    world.fate.clear()
    assert [sent.header.stage for sent in world.wire.open.values()] == ["clean"]
    assert (await world.records(run)).keys() >= {"accepted", "begun-clean-0"}


async def test_a_subscription_that_cannot_be_opened_is_told(world: World) -> None:
    async def refuse(*_: Any, **__: Any) -> Any:
        raise BrokerDown("away")

    world.wire.subscribe = refuse  # type: ignore[method-assign]
    with pytest.raises(BrokerDown):
        await drained(world)
