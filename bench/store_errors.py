"""Cost of failing requests: to COS or to the vendor for a task, and questions to the backend; on virtual time."""

from __future__ import annotations

import asyncio
import random
import re
import statistics
from collections.abc import Iterator
from typing import Final

import httpx

from bench.figures import Figure
from messages.errors import Outage
from services.backend import Backend
from services.errors import BackendDown, ObjectsDown, VendorDown
from telemetry.secrets import Secret
from tests.engine.harness import Harness
from tests.engine.virtual import VirtualLoop, wall

__all__ = ["measure", "seconds", "unanswered"]

_TASKS: Final = 200
_RATE: Final = 0.05
_OFTEN: Final = 0.2
_QUESTIONS: Final = 2_000
STORE: Final = re.compile(r"(objects|ledger)\.(?!audit|read)|objects\.audit .*_01\.")
"""Places that count as a request to COS: an audit's batch counts once, a download when it is opened."""
VENDOR: Final = re.compile(r"vendor\.(query|room)")
"""Places that count as a read of the vendor."""


async def _one(seed: int, rate: float, places: re.Pattern[str]) -> float:
    rng = random.Random(seed)
    error: Outage = ObjectsDown("503") if places is STORE else VendorDown("502")
    async with Harness(seed=seed) as harness:
        run = await harness.order()
        ordered, heard = wall(), list[float]()

        async def spoil(place: str, *, done: bool) -> None:
            await asyncio.sleep(0)
            if done and place.startswith("backend.deliver"):
                heard.append(wall())
            if not done and places.match(place) and rng.random() < rate:
                raise error.with_traceback(None)

        harness.injector.hook = spoil
        await harness.drain()
        harness.injector.hook = None
        await harness.promise(run, "success")
    return heard[0] - ordered


def seconds(tasks: int, rate: float, places: re.Pattern[str] = STORE) -> list[float]:
    """From `accepted` to the callback, of `model_pose12` tasks, each by itself.

    Args:
        tasks: how many.
        rate: part of the requests that fail.
        places: requests that may fail: `STORE` or `VENDOR`.
    """
    found: list[float] = []
    for seed in range(tasks):
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            found.append(runner.run(_one(seed, rate, places)))
    return found


async def _questions(number: int, rate: float) -> int:
    rng = random.Random(1)

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(503) if rng.random() < rate else httpx.Response(200, content=b'{"rows": []}')

    transport = httpx.MockTransport(answer)
    backend = Backend(base_url="http://b", secret=Secret("s" * 32), clock=wall, rng=rng, transport=transport)
    failed = 0
    for _ in range(number):
        try:
            await backend.unfinished(600)
        except BackendDown:
            failed += 1
    await backend.close()
    return failed


def unanswered(number: int, rate: float) -> int:
    """Return the questions to the backend that stay without an answer, out of a number, where a part of them fails."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_questions(number, rate))


def measure() -> Iterator[Figure]:
    """Half of the tasks, nine in ten, and the slowest; the same where nothing fails; and unanswered questions."""
    for name, rate, tasks, places in (
        ("store_errors_none", 0.0, 1, STORE),
        ("store_errors_one_in_twenty", _RATE, _TASKS, STORE),
        ("vendor_errors_one_in_five", _OFTEN, _TASKS, VENDOR),
    ):
        found = sorted(seconds(tasks, rate, places))
        yield Figure.of(name, found, "s")
        if tasks > 1:
            yield Figure.of(f"{name}_p90", [statistics.quantiles(found, n=10)[8]], "s")
    yield Figure.of("backend_errors_one_in_five_unanswered", [unanswered(_QUESTIONS, _OFTEN)], f"of {_QUESTIONS}")
