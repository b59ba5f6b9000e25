"""A process that dies at one place: the task succeeds all the same, and is paid once."""

from __future__ import annotations

from collections.abc import Awaitable

from messages.keys import RunId
from tests.engine.fault_injector import dies
from tests.engine.harness import Harness

__all__ = ["outlive_crash"]


async def outlive_crash(harness: Harness, place: str, begun: Awaitable[RunId], *, done: bool) -> RunId:
    """Let a process die at a place, before the effect or when it is done, and drain a run of one paid call."""
    harness.injector.strike(place, dies(), done=done)
    run = await begun
    await harness.drain()
    await harness.promise(run, "success")
    assert harness.injector.left == 0
    assert len(harness.vendor.paid) == 1
    return run
