"""Queueing on virtual time: waits behind crash copies, at the cap of a user, and for a full vendor."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from bench.figures import Figure
from bench.full_vendor import wait_for_a_full_vendor
from bench.two_vendors import beside_a_full_vendor
from consumers.runners.dispatcher import DeliveryOutcome, Dispatcher
from consumers.runners.pump import Pump
from messages.bodies import Clean, Stage
from messages.keys import RunId
from messages.topics import WORKERS, topic_of
from tests.engine.fault_injector import dies, waits
from tests.engine.harness import Harness
from tests.engine.virtual import VirtualLoop

__all__ = ["after_a_kill", "behind_a_paid_call", "killed_in", "late_tasks_of_one_user", "measure", "one_user"]

_PAID_S = 80.0
_SHORT_S = 0.5
_LONG_S = 40.0
_AT_ONCE = 8
_CAP = 6
_PLACES = {"clean": "objects.process", "generate": "vendor.upload", "collect": "files.get .*/4"}
_FLOOD = 300
_HOUR_S = 3600.0

T = TypeVar("T")


@asynccontextmanager
async def _pumping(harness: Harness, *, user_cap: int = 0) -> AsyncIterator[Dispatcher]:
    dispatcher = Dispatcher(harness.engine, user_cap=user_cap)
    pump = Pump(harness.wire, dispatcher, harness.pauses, concurrency=_AT_ONCE)
    running = asyncio.create_task(pump.run())
    try:
        yield dispatcher
    finally:
        pump.stop()
        await running


async def _until(done: Callable[[], Awaitable[bool]], each: float = 0.1) -> None:
    while not await done():  # noqa: ASYNC110 - virtual time
        await asyncio.sleep(each)


async def _have_verdicts(harness: Harness, runs: Sequence[RunId]) -> bool:
    for run in reversed(runs):
        if await harness.ledger.verdict(run) is None:
            return False
    return True


def _run(scene: Callable[[], Awaitable[T]]) -> T:
    async def body() -> T:
        return await scene()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(body())


async def behind_a_paid_call() -> float:
    """Return the seconds that five short tasks take beside a crash copy that arrives 18 s into a paid call of 80 s."""
    async with Harness(topics=()) as harness, _pumping(harness):
        await harness.order()
        harness.injector.strike("vendor.create", waits(_PAID_S))
        while not harness.injector.count("vendor.create"):  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.1)
        await asyncio.sleep(18)
        killer = await harness.order("basic_clean")
        await harness.say(killer, Stage.CLEAN, Clean(), kind="basic_clean", seq=1, attempt=2, isolated=True)
        harness.injector.strike("objects.process", *[waits(_SHORT_S)] * 10)
        started = harness.now()
        runs = [await harness.order("basic_clean") for _ in range(5)]
        await _until(lambda: _have_verdicts(harness, runs))
        took = harness.now() - started
        await asyncio.sleep(600)
        return took


async def after_a_kill() -> float:
    """Return the seconds until eight messages of 40 s are done after one kill of their process."""
    async with Harness(topics=()) as harness:
        harness.wire.knows_dead_holders = True
        runs = [await harness.order("basic_clean") for _ in range(_AT_ONCE)]
        consumer = await harness.wire.subscribe([topic_of(Stage.CLEAN)], WORKERS, prefetch=0)
        harness.injector.strike("objects.process", *[dies()] * _AT_ONCE)
        held = [await consumer.receive() for _ in runs]
        for delivery in held:
            await harness.run(delivery, consumer)
        await consumer.close()
        harness.injector.strike("objects.process", *[waits(_LONG_S)] * _AT_ONCE)
        started = harness.now()
        async with _pumping(harness):
            await _until(lambda: _have_verdicts(harness, runs))
            return harness.now() - started


async def killed_in(stage: str, *, known: bool) -> float:
    """Return the seconds until the work of a killed worker is done again.

    Args:
        stage: in which it was killed; of the paid stage, while its input was uploaded.
        known: whether the broker knows of the death.
    """
    times: list[float] = []

    async def die() -> None:
        times.append(harness.now())
        await dies()()

    async def watch(place: str, *, done: bool) -> None:
        if not done and re.search(_PLACES[stage], place):
            times.append(harness.now())

    async with Harness() as harness:
        harness.wire.knows_dead_holders = known
        harness.injector.hook = watch
        harness.injector.strike(_PLACES[stage], die)
        run = await harness.order()
        await harness.drain()
        await harness.promise(run, "success")
        return times[1] - times[0]


async def one_user() -> tuple[float, int]:
    """Return the seconds until 300 tasks of one second of one user are done, and the number of messages throttled."""
    async with Harness(topics=()) as harness:
        harness.injector.strike("objects.process", *[waits(1.0)] * _FLOOD)
        runs = [await harness.order("basic_clean") for _ in range(_FLOOD)]
        started = harness.now()
        async with _pumping(harness, user_cap=_CAP) as dispatcher:
            await _until(lambda: _have_verdicts(harness, runs))
            took = harness.now() - started
            return took, dispatcher.counts[DeliveryOutcome.THROTTLED]


async def late_tasks_of_one_user() -> int:
    """Return how many of 330 tasks of 10 s of one user miss their deadline: six at once need 550 of 600 s."""
    async with Harness(topics=()) as harness:
        harness.injector.strike("objects.process", *[waits(10.0)] * 330)
        runs = [await harness.order("basic_clean") for _ in range(330)]
        async with _pumping(harness, user_cap=_CAP):
            await _until(lambda: _have_verdicts(harness, runs), 5.0)
        return sum([(await harness.verdict(run)).status != "success" for run in runs])


def measure() -> Iterator[Figure]:
    """Measure each figure once, because virtual time has no spread."""
    yield Figure.of("isolation_five_short_tasks_behind_a_paid_call", [_run(behind_a_paid_call)], "s")
    yield Figure.of("isolation_eight_messages_after_one_kill", [_run(after_a_kill)], "s")
    for stage, known in itertools.product(_PLACES, (True, False)):
        name = f"killed_in_{stage}_{'known' if known else 'unknown'}"
        yield Figure.of(name, [_run(lambda stage=stage, known=known: killed_in(stage, known=known))], "s")
    took, again = _run(one_user)
    yield Figure.of("user_cap_300_tasks_of_one_user", [took], "s")
    yield Figure.of("user_cap_messages_published_again", [again], "")
    yield Figure.of("user_cap_late_of_330_tasks_of_one_user", [_run(late_tasks_of_one_user)], "")
    for pulsar, workers in itertools.product((False, True), (1, 3)):
        name = f"full_vendor_{'pulsar' if pulsar else 'sqlite'}_order_{workers}_workers"
        waits = wait_for_a_full_vendor(pulsar=pulsar, workers=workers)
        yield Figure.of(f"{name}_late", [waits.late], "")
        yield Figure.of(f"{name}_p99_vs_fifo", [waits.p99_s / waits.fifo_p99_s], "x")
    for full_s in (0.0, _HOUR_S):
        name = f"beside_a_vendor_full_for_{full_s:.0f}_s"
        pace = beside_a_full_vendor(pulsar=True, full_s=full_s)
        yield Figure.of(f"{name}_median", [pace.median_s], "s")
        yield Figure.of(f"{name}_longest", [pace.longest_s], "s")
        yield Figure.of(f"{name}_overtaken", [pace.overtaken], "")
