"""The doctor names the keys that calls under way were made with, and misses one that was taken out too early."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from console.doctor.keys_in_use import keys_in_use_checks
from services.errors import CheckFailed
from tests.engine.harness import Harness
from tests.engine.standins import Plan
from tests.engine.test_keys import second
from tests.engine.virtual import VirtualLoop


def play(body: Callable[[Harness], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with Harness() as harness:
            await body(harness)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(whole())


async def under_way(harness: Harness, tasks: int) -> None:
    """Make a call for each of some tasks; their jobs take long."""
    for _ in range(tasks):
        await harness.order()
        delivery, consumer = await harness.until("generate")
        await harness.run(delivery, consumer)


async def look(harness: Harness) -> str:
    (check,) = keys_in_use_checks(harness.out)
    assert check.needs == "backend"
    return await check.run()


def test_the_keys_of_calls_under_way_are_named_with_their_number() -> None:
    async def body(harness: Harness) -> None:
        other = second(harness)
        assert await look(harness) == "calls under way by key: none"
        for vendor in (harness.vendor, other):
            vendor.plans.extend([Plan(looks=1 << 30)] * 3)
        await under_way(harness, 3)
        assert await look(harness) == "calls under way by key: runninghub/main 2, runninghub/second 1"

    play(body)


def test_a_key_that_was_taken_out_too_early_is_named() -> None:
    async def body(harness: Harness) -> None:
        second(harness)
        second(harness, "third")
        await under_way(harness, 3)
        del harness.vendors["second"]
        with pytest.raises(CheckFailed, match=r"not here: runninghub/second$"):
            await look(harness)

    play(body)


def test_where_no_vendor_has_several_keys_there_is_no_check() -> None:
    async def body(harness: Harness) -> None:
        await asyncio.sleep(0)
        assert keys_in_use_checks(harness.out) == ()

    play(body)


def test_ended_tasks_use_no_key() -> None:
    async def body(harness: Harness) -> None:
        second(harness)
        run = await harness.order()
        await harness.drain()
        await harness.promise(run, "success")
        assert await look(harness) == "calls under way by key: none"

    play(body)
