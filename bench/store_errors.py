"""Duration of a task while every twentieth request to COS fails; on virtual time, so the same on every machine."""

from __future__ import annotations

import asyncio
import random
import re
import statistics
from collections.abc import Iterator
from typing import Final

from bench.figures import Figure
from services.errors import ObjectsDown
from tests.engine.harness import Harness
from tests.engine.virtual import VirtualLoop, wall

__all__ = ["measure", "seconds"]

_TASKS: Final = 200
_RATE: Final = 0.05
_REQUEST: Final = re.compile(r"(objects|ledger)\.(?!audit|read)|objects\.audit .*_01\.")
"""Places that count as a request to COS: an audit's batch counts once, a download when it is opened."""


async def _one(seed: int, rate: float) -> float:
    rng = random.Random(seed)
    async with Harness(seed=seed) as harness:
        run = await harness.order()
        ordered, heard = wall(), list[float]()

        async def spoil(place: str, *, done: bool) -> None:
            await asyncio.sleep(0)
            if done and place.startswith("backend.deliver"):
                heard.append(wall())
            if not done and _REQUEST.match(place) and rng.random() < rate:
                raise ObjectsDown("503")

        harness.injector.hook = spoil
        await harness.drain()
        harness.injector.hook = None
        await harness.promise(run, "success")
    return heard[0] - ordered


def seconds(tasks: int, rate: float) -> list[float]:
    """From `accepted` to the callback, of `model_pose12` tasks, each by itself.

    Args:
        tasks: how many.
        rate: part of the requests to COS that fail.
    """
    found: list[float] = []
    for seed in range(tasks):
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            found.append(runner.run(_one(seed, rate)))
    return found


def measure() -> Iterator[Figure]:
    """Half of the tasks, nine in ten, and the slowest; and the same where nothing fails."""
    for name, rate, tasks in (("none", 0.0, 1), ("one_in_twenty", _RATE, _TASKS)):
        found = sorted(seconds(tasks, rate))
        yield Figure.of(f"store_errors_{name}", found, "s")
        if tasks > 1:
            yield Figure.of(f"store_errors_{name}_p90", [statistics.quantiles(found, n=10)[8]], "s")
