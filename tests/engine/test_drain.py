"""The drain: it ends when no message comes or its time is over, and then holds no message."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from consumers.runners.drain import Drained, drain
from consumers.runners.errors import Unsettled
from consumers.runners.time_budget import budget_of
from runtime.settings import Settings
from tests.engine.fault_injector import raises, waits
from tests.engine.harness import Harness
from transport.errors import BrokerDown


@pytest.fixture
def harness() -> Harness:
    return Harness(topics=())


async def drained(harness: Harness, limit: float = 900.0, *topics: str, **settings: Any) -> Drained:
    budget = budget_of(asyncio.get_running_loop().time(), limit, 30.0)
    return await drain(harness.out, budget, topics=topics, settings=Settings(**settings))


async def until_empty(harness: Harness, limit: float = 900.0) -> None:
    """A timer calls, until nothing waits."""
    async with asyncio.timeout(7200):
        while harness.wire.open:
            await drained(harness, limit)
            await asyncio.sleep(5)


async def test_whole_tasks_by_calls_of_a_timer(harness: Harness) -> None:
    runs = [await harness.order("basic_clean" if n % 4 == 3 else "model_pose12") for n in range(8)]
    await until_empty(harness)
    for run in runs:
        await harness.promise(run, "success")
    assert len(harness.vendor.paid) == 6


async def test_nothing_to_do(harness: Harness) -> None:
    found = await drained(harness)
    assert (found.done, found.ended) == (0, "empty")
    assert 1.0 <= found.seconds < 2.0


async def test_two_at_once_share_the_work(harness: Harness) -> None:
    runs = [await harness.order("basic_clean") for _ in range(10)]
    first, second = await asyncio.gather(drained(harness), drained(harness))
    assert first.done + second.done == 10
    for run in runs:
        await harness.promise(run, "success")


async def test_what_has_begun_when_time_runs_out_ends_within_the_grace(harness: Harness) -> None:
    run = await harness.order("basic_clean")
    harness.injector.strike("objects.process", waits(23))
    found = await drained(harness, 30.0, "clean-normal")
    assert (found.done, found.cut_off, found.ended) == (1, 0, "time")
    assert found.seconds < 30
    await harness.promise(run, "success")


async def test_what_outlasts_the_limit_goes_on_as_a_copy_with_the_same_attempt(harness: Harness) -> None:
    run = await harness.order()
    await harness.order()
    harness.injector.strike("objects.process", waits(50), waits(50))
    found = await drained(harness, 30.0, "clean-normal", work_concurrency=1)
    assert (found.done, found.cut_off, found.ended) == (0, 1, "time")
    assert found.seconds < 27
    stages = sorted((sent.header.stage, sent.header.seq, sent.header.attempt) for sent in harness.wire.open.values())
    assert stages == [("clean", 0, 0), ("clean", 1, 0)]
    await until_empty(harness)
    await harness.promise(run, "success")


async def test_paid_work_is_not_begun_late(harness: Harness) -> None:
    run = await harness.order()
    harness.injector.strike("objects.process", waits(40))
    # Clean ends after 40 s; then the 150 s of a paid call do not fit into what is left of 180 s.
    found = await drained(harness, 180.0)
    assert (found.done, harness.sent("generate")[0].seq) == (1, 0)
    assert not harness.vendor.paid
    await until_empty(harness)
    await harness.promise(run, "success")
    assert len(harness.vendor.paid) == 1


async def test_a_broker_that_stays_away_does_not_hold_it_beyond_its_limit(harness: Harness) -> None:
    run = await harness.order("basic_clean")
    harness.injector.strike("objects.process", waits(50))
    harness.injector.strike("broker.publish", *[raises(BrokerDown("away"))] * 10_000)
    before = harness.now()
    with pytest.raises(Unsettled):
        await drained(harness, 30.0, "clean-normal")
    assert harness.now() - before < 30
    # The broker delivers again what it still holds, once the connection is gone; here the consumer gave it back.
    harness.injector.clear()
    assert [sent.header.stage for sent in harness.wire.open.values()] == ["clean"]
    assert (await harness.records(run)).keys() >= {"accepted", "begun-clean-0"}


async def test_a_subscription_that_cannot_be_opened_is_told(harness: Harness) -> None:
    async def refuse(*_: Any, **__: Any) -> Any:
        raise BrokerDown("away")

    harness.wire.subscribe = refuse  # type: ignore[method-assign]
    with pytest.raises(BrokerDown):
        await drained(harness)
