"""Time limit for work that does not wait: `within`, which sets its timer late, against `asyncio.timeout`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from bench.figures import Figure
from consumers.engine.time_limit import within

__all__ = ["measure"]

_REPEATS = 9
_CALLS = 20_000


async def _nothing() -> int:
    return 1


async def _late() -> float:
    started = time.perf_counter()
    for _ in range(_CALLS):
        await within(60.0, _nothing())
    return (time.perf_counter() - started) / _CALLS * 1e6


async def _at_once() -> float:
    started = time.perf_counter()
    for _ in range(_CALLS):
        async with asyncio.timeout(60.0):
            await _nothing()
    return (time.perf_counter() - started) / _CALLS * 1e6


def measure() -> Iterator[Figure]:
    """Measure microseconds per call, alternating, and the ratio."""
    rows = [(asyncio.run(_late()), asyncio.run(_at_once())) for _ in range(_REPEATS)]
    yield Figure.of("within, us", [late for late, _ in rows], "us")
    yield Figure.of("asyncio.timeout, us", [at_once for _, at_once in rows], "us")
    yield Figure.of("asyncio.timeout / within", [at_once / late for late, at_once in rows], "x")
