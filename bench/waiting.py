"""What `bench.billing` compares with: a function that does one task's work, and waits in it until the task is done."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from consumers.worker import build_pump
from messages.keys import RunId
from runtime.outside import Outside
from runtime.scf import instance
from services.records import Delivered

__all__ = ["main_handler"]

_LOOK_EVERY_S = 0.5


def main_handler(event: Mapping[str, Any], _context: Mapping[str, Any]) -> dict[str, bool]:
    """Entry of the function."""
    run = RunId(event["user"], event["task"])
    return instance("bench.waiting", vendors=True).call(lambda out: _until_done(run, out))


async def _until_done(run: RunId, out: Outside) -> dict[str, bool]:
    pump = build_pump(out)
    running = asyncio.create_task(pump.run())
    while await out.ledger.read(run, "delivered", Delivered) is None:  # noqa: ASYNC110 - another process may write it
        await asyncio.sleep(_LOOK_EVERY_S)
    pump.stop()
    with suppress(asyncio.CancelledError):
        await running
    return {"done": True}
