"""A full vendor, on virtual time: waits of tasks for one of its places, against first come, first served."""

from __future__ import annotations

import asyncio
import dataclasses
import heapq
import math
import random
from collections.abc import Sequence
from typing import Final

import msgspec

from bench.pulsar_order import PulsarOrder
from consumers.engine.engine import Engine
from consumers.engine.pauses import Pauses
from consumers.runners.dispatcher import Dispatcher
from consumers.runners.pump import Pump
from consumers.stages.table import STAGES
from recipes.table import RECIPES
from services.errors import VendorFull
from services.vendors.port import Created, JobRequest, key_of
from tasks.calls.lines import VendorLines
from tests.engine.harness import Harness
from tests.engine.standins import Plan, ScriptedVendor
from tests.engine.virtual import VirtualLoop

__all__ = ["Waits", "wait_for_a_full_vendor"]

PLACES: Final = 3
JOB_S: Final = 60.0
BURST: Final = 40
_LOAD: Final = 0.6
"""Arrivals after the burst, as a share of the vendor's capacity."""
_FOREVER: Final = 10**9


class Waits(msgspec.Struct, frozen=True):
    """Waits from the purchase to the vendor's job."""

    late: int
    """Tasks that ran out of time."""
    p99_s: float
    fifo_p99_s: float
    """The same for first come, first served."""
    asked: int
    """Questions to the vendor whether it has room."""
    messages: int
    """Messages that were published."""


class _Vendor(ScriptedVendor):
    """A vendor with a few places, which answers questions for room."""

    asked = 0

    def _check(self) -> None:
        if sum(job.working for job in self.jobs.values()) >= PLACES:
            raise VendorFull("no room")

    async def check_room(self) -> None:
        self.asked += 1
        await super().check_room()
        self._check()

    async def create(self, request: JobRequest, *, timeout: float) -> Created:  # noqa: ASYNC109 - the port's word
        self._check()
        self.plans.append(Plan(looks=_FOREVER, within=JOB_S))
        return await super().create(request, timeout=timeout)


def arrivals(seed: int, span: float) -> list[float]:
    """Return the seconds at which tasks are bought: a burst, and then arrivals below the vendor's capacity."""
    rng = random.Random(seed)
    times, now = [0.0] * BURST, 0.0
    while (now := now + rng.expovariate(_LOAD * PLACES / JOB_S)) < span:
        times.append(now)
    return times


def p99(waits: Sequence[float]) -> float:
    """Return the wait that one of a hundred exceeds."""
    return sorted(waits)[math.ceil(0.99 * len(waits)) - 1]


def fifo(times: Sequence[float]) -> list[float]:
    """Return the waits of first come, first served."""
    free, waits = [0.0] * PLACES, []
    for time in times:
        begin = max(time, heapq.heappop(free))
        heapq.heappush(free, begin + JOB_S)
        waits.append(begin - time)
    return waits


async def _simulate(*, pulsar: bool, workers: int, seed: int, span: float) -> Waits:
    times = arrivals(seed, span)
    async with Harness(topics=(), broker=PulsarOrder() if pulsar else None, seed=seed) as harness:
        vendor = _Vendor(harness.injector, RECIPES["model_pose12"].count)
        harness.vendor = harness.vendors[vendor.name] = vendor
        loop = asyncio.get_running_loop()
        pumps = []
        for _ in range(workers):
            pauses = Pauses(loop.time)
            dispatcher = Dispatcher(Engine(dataclasses.replace(harness.out, lines=VendorLines()), STAGES, pauses))
            pumps.append(Pump(harness.wire, dispatcher, pauses, keys={vendor.name: [key_of(vendor)]}))
        running = [asyncio.create_task(pump.run()) for pump in pumps]
        begin, bought = loop.time(), []
        for time in times:
            await asyncio.sleep(begin + time - loop.time())
            bought.append((await harness.order(), harness.now()))
        while harness.wire.open:  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(10)
        for pump in pumps:
            pump.stop()
        await asyncio.gather(*running)
        waits, late = [], 0
        for run, at in bought:
            calls = [call for call in await harness.ledger.calls(run, 1) if call.job]
            late += not calls or (await harness.verdict(run)).status != "success"
            waits.append(calls[0].at - at if calls else math.inf)
        return Waits(late, p99(waits), p99(fifo(times)), vendor.asked, len(harness.wire.sent))


def wait_for_a_full_vendor(*, pulsar: bool, workers: int, seed: int = 1, span: float = 3600.0) -> Waits:
    """Simulate a vendor of three places, with jobs of 60 s: a burst of 40 tasks, and arrivals below its capacity.

    Args:
        pulsar: whether messages come in Pulsar's order; else in that of the SQLite broker.
        workers: pumps.
        seed: of the arrivals, and of every random choice.
        span: seconds of arrivals.
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_simulate(pulsar=pulsar, workers=workers, seed=seed, span=span))
