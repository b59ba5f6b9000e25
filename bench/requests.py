"""Requests to COS of one task, by operation: all reads and writes of a worker from `accepted` to `delivered`."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

from bench.figures import Figure
from services.objects.port import Objects
from tests.engine.harness import Harness
from tests.engine.standins import Plan
from tests.engine.virtual import VirtualLoop

__all__ = ["count", "measure"]

_POLLS = 4
"""Polls at which the vendor's job is still running."""


class _Counted:
    """Store that counts its calls; each is one request to COS."""

    def __init__(self, store: str, objects: Objects, seen: Counter[str]) -> None:
        self._store = store
        self._objects = objects
        self._seen = seen

    def __getattr__(self, verb: str) -> Any:  # noqa: ANN401 - any attribute of the store
        self._seen[f"{self._store} {verb}"] += 1
        return getattr(self._objects, verb)


async def _count(kind: str) -> Counter[str]:
    async with Harness() as harness:
        harness.vendor.plans.append(Plan(looks=_POLLS))
        run = await harness.order(kind)
        seen: Counter[str] = Counter()
        harness.ledger.objects = cast("Objects", _Counted("ledger", harness.ledger.objects, seen))
        harness.out = dataclasses.replace(harness.out, objects=cast("Objects", _Counted("data", harness.data, seen)))
        harness.engine = harness.new_engine()
        await harness.drain()
        counted = Counter(seen)
        await harness.promise(run, "success")
        return counted


def count(kind: str) -> Counter[str]:
    """Return `{store} {operation}` -> number of requests of one worker for one successful task.

    Args:
        kind: kind of the task.
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_count(kind))


def measure() -> Iterator[Figure]:
    """Measure every operation, and the sum, for each kind."""
    for kind in ("basic_clean", "model_pose12"):
        seen = count(kind)
        for name, times in sorted(seen.items()):
            yield Figure.of(f"requests_{kind}_{name.replace(' ', '_')}", [times], "")
        yield Figure.of(f"requests_{kind}_in_all", [seen.total()], "")
