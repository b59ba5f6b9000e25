"""Slots on virtual time: a task with several paid calls at once takes about as long as one with a single call."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import Final

import msgspec

from bench.figures import Figure
from consumers.runners.dispatcher import Dispatcher
from consumers.runners.pump import Pump
from recipes.photography import PHOTOGRAPHY
from tests.engine.fault_injector import waits
from tests.engine.harness import Harness
from tests.engine.standins import InstantVendor
from tests.engine.virtual import VirtualLoop

__all__ = ["measure", "took"]

_TASKS: Final = 40
_SHORTEST_S: Final = 30.0
_LONGEST_S: Final = 50.0
"""A call takes as long as Seedream does, give or take."""

_KIND: Final = "model_pose12"
_RECIPE: Final = msgspec.structs.replace(
    PHOTOGRAPHY, kind=_KIND, inputs=("photo",), most_inputs=1, prompt=None, vendor="runninghub", finish=None
)
"""The kind `photography` without prompt and watermark, under the name of the harness's own kind and for its vendor."""


async def _one(count: int, seed: int) -> float:
    rng = random.Random(seed)
    async with Harness(recipes={_KIND: _RECIPE}, seed=seed, topics=()) as harness:
        harness.vendors[harness.vendor.name] = InstantVendor(harness.vendor, 1)
        calls = [waits(rng.uniform(_SHORTEST_S, _LONGEST_S)) for _ in range(count)]
        harness.injector.strike("vendor.create", *calls)
        run = await harness.order(params={"count": count})
        pump = Pump(harness.wire, Dispatcher(harness.engine), harness.pauses, concurrency=8)
        running = asyncio.create_task(pump.run())
        started = harness.now()
        while await harness.ledger.verdict(run) is None:  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.1)
        ended = harness.now() - started
        pump.stop()
        await running
        await harness.promise(run, "success")
        return ended


def took(count: int, seed: int) -> float:
    """Return the seconds from `accepted` to the verdict of a task with so many slots."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_one(count, seed))


def measure() -> Iterator[Figure]:
    """Measure tasks with one and with four slots, whose calls take 30 to 50 s each."""
    single, four = ([took(count, seed) for seed in range(_TASKS)] for count in (1, 4))
    yield Figure.of("slots_1", single, "s")
    yield Figure.of("slots_4", four, "s")
    yield Figure.of("slots_4_vs_1", [b / a for a, b in zip(sorted(single), sorted(four), strict=True)], "x")
