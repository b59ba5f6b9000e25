"""One vendor is full for an hour, on virtual time: the pace of another vendor's tasks, and the order afterwards."""

from __future__ import annotations

import asyncio
import math
import statistics
from typing import Final

import msgspec

from bench.pulsar_order import PulsarOrder
from consumers.runners.dispatcher import Dispatcher
from consumers.runners.pump import Pump
from messages.keys import RunId
from recipes.model_pose12 import MODEL_POSE12
from services.errors import VendorFull
from services.vendors.port import Created, JobRequest, key_of
from tasks.ledger.records import Verdict
from tests.engine.harness import Harness
from tests.engine.standins import Plan, ScriptedVendor
from tests.engine.virtual import VirtualLoop

__all__ = ["Pace", "beside_a_full_vendor"]

_EVERY_S: Final = 45.0
"""Seconds between two purchases of each kind."""
_PLACES: Final = 3
_JOB_S: Final = 60.0
_FOREVER: Final = 10**9
_FULL_KIND: Final = "model_pose12"
_OTHER_KIND: Final = "other"
_RECIPES: Final = {
    # Long enough for those that wait the whole hour.
    _FULL_KIND: msgspec.structs.replace(MODEL_POSE12, deadline_s=4 * 3600),
    _OTHER_KIND: msgspec.structs.replace(MODEL_POSE12, kind=_OTHER_KIND, vendor="ark"),
}


class Pace(msgspec.Struct, frozen=True):
    """Tasks of two vendors."""

    median_s: float
    """Seconds from purchase to verdict of the other vendor's tasks."""
    longest_s: float
    overtaken: int
    """Tasks of the full vendor that got their job before an older one, counted for the one most often overtaken."""
    late: int
    """Tasks of both that did not succeed."""


class _Vendor(ScriptedVendor):
    """Has no room until a time, by the loop's clock, and then a few places."""

    full_until = 0.0

    def _check(self) -> None:
        busy = sum(job.working for job in self.jobs.values())
        if asyncio.get_running_loop().time() < self.full_until or busy >= _PLACES:
            raise VendorFull("no room")

    async def check_room(self) -> None:
        await super().check_room()
        self._check()

    async def create(self, request: JobRequest, *, timeout: float) -> Created:  # noqa: ASYNC109 - the port's word
        self._check()
        self.plans.append(Plan(looks=_FOREVER, within=_JOB_S))
        return await super().create(request, timeout=timeout)


async def _simulate(*, pulsar: bool, full_s: float, span: float, seed: int) -> Pace:
    async with Harness(recipes=_RECIPES, topics=(), broker=PulsarOrder() if pulsar else None, seed=seed) as harness:
        loop, begin = asyncio.get_running_loop(), asyncio.get_running_loop().time()
        full, other = (_Vendor(harness.injector, MODEL_POSE12.count) for _ in range(2))
        full.full_until, other.name = begin + full_s, "ark"
        harness.vendors |= {full.name: full, other.name: other}
        harness.vendor = full
        keys = {vendor.name: [key_of(vendor)] for vendor in (full, other)}
        pump = Pump(harness.wire, Dispatcher(harness.engine), harness.pauses, keys=keys)
        running = asyncio.create_task(pump.run())
        bought: dict[str, list[tuple[RunId, float]]] = {kind: [] for kind in _RECIPES}
        for purchase in range(int(span / _EVERY_S)):
            await asyncio.sleep(begin + purchase * _EVERY_S - loop.time())
            for kind, runs in bought.items():
                runs.append((await harness.order(kind), harness.now()))
        while harness.wire.open:  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(10)
        pump.stop()
        await running
        took = [await _ended(run, harness) - at for run, at in bought[_OTHER_KIND]]
        jobs = [call.at for run, _ in bought[_FULL_KIND] for call in await harness.ledger.calls(run, 1) if call.job]
        overtaken = max(sum(later < job for later in jobs[place:]) for place, job in enumerate(jobs))
        ends = [(await harness.verdict(run)).status for runs in bought.values() for run, _ in runs]
        late = sum(end != "success" for end in ends)
        return Pace(statistics.median(took), max(took), overtaken, late)


async def _ended(run: RunId, harness: Harness) -> float:
    verdict = await harness.ledger.read(run, Verdict.at())
    return verdict.at if verdict else math.inf


def beside_a_full_vendor(*, pulsar: bool, full_s: float = 3600.0, span: float = 3600.0, seed: int = 1) -> Pace:
    """Simulate two vendors of three places, with jobs of 60 s, and a purchase of each kind every 45 s.

    Args:
        pulsar: whether messages come in Pulsar's order; else in that of the SQLite broker.
        full_s: seconds for which the first vendor has no room.
        span: seconds of purchases.
        seed: of every random choice.
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_simulate(pulsar=pulsar, full_s=full_s, span=span, seed=seed))
