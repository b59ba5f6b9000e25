"""Function to which `bench.billing` compares: it handles one task, and waits until the task is done."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from consumers.runners.worker import build_pump
from messages.keys import RunId
from runtime.scf import instance
from runtime.wiring import open_services
from tasks.context import Services
from tasks.ledger.records import Delivered

__all__ = ["main_handler"]

_POLL_EVERY_S = 0.5


def main_handler(event: Mapping[str, Any], _context: Mapping[str, Any]) -> dict[str, bool]:
    """Handle an event of the platform."""
    run = RunId(event["user"], event["task"])
    return instance("bench.waiting", open_services).call(lambda services: _until_done(run, services))


async def _until_done(run: RunId, services: Services) -> dict[str, bool]:
    pump = build_pump(services)
    running = asyncio.create_task(pump.run())
    while await services.ledger.read(run, Delivered.at()) is None:  # noqa: ASYNC110 - another process may write it
        await asyncio.sleep(_POLL_EVERY_S)
    pump.stop()
    with suppress(asyncio.CancelledError):
        await running
    return {"done": True}
