"""Requests to COS for one task, counted one by one: what a worker reads and writes from `accepted` to `delivered`."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

from bench.figures import Figure
from services.objects.port import Objects
from tests.engine.standins import Plan
from tests.engine.virtual import VirtualLoop
from tests.engine.world import World

__all__ = ["count", "measure"]

_LOOKS = 4
"""Times that the vendor's job is still at work."""


class _Counted:
    """A store that counts its calls: each is one request to COS."""

    def __init__(self, store: str, objects: Objects, seen: Counter[str]) -> None:
        self._store = store
        self._objects = objects
        self._seen = seen

    def __getattr__(self, verb: str) -> Any:  # noqa: ANN401 - whatever the store has
        self._seen[f"{self._store} {verb}"] += 1
        return getattr(self._objects, verb)


async def _count(kind: str) -> Counter[str]:
    async with World() as world:
        world.vendor.plans.append(Plan(looks=_LOOKS))
        run = await world.order(kind)
        seen: Counter[str] = Counter()
        world.ledger.objects = cast("Objects", _Counted("ledger", world.ledger.objects, seen))
        world.out = dataclasses.replace(world.out, objects=cast("Objects", _Counted("data", world.data, seen)))
        world.engine = world.new_engine()
        await world.drain()
        counted = Counter(seen)
        await world.promise(run, "success")
        return counted


def count(kind: str) -> Counter[str]:
    """`{store} {operation}` -> how often, in one worker, of one task that goes well.

    Args:
        kind: of the task.
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_count(kind))


def measure() -> Iterator[Figure]:
    """Every operation by itself, and the sum, for each kind."""
    for kind in ("basic_clean", "model_pose12"):
        seen = count(kind)
        for name, times in sorted(seen.items()):
            yield Figure.of(f"requests_{kind}_{name.replace(' ', '_')}", [times], "")
        yield Figure.of(f"requests_{kind}_in_all", [seen.total()], "")
