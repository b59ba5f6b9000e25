"""`scf-workers sweep` and `scf-workers cancel`: what the timer and the backend start, done by hand."""

from __future__ import annotations

import asyncio
import os
import sys

from messages.keys import RunId, check_id
from producer.sweep import Swept, sweep
from runtime.settings import load_settings
from runtime.wakes import LATEST, cancel_task
from runtime.wiring import open_outside
from services.records import Verdict
from telemetry import logs

__all__ = ["cancel_by_hand", "sweep_by_hand"]


def sweep_by_hand(older_than: float, cursor: str) -> Swept:
    """Sweep once, without a limit of time, and log to standard error.

    Raises:
        messages.errors.ScfWorkersError: the environment cannot be used, or the backend's list cannot be read.
    """
    return asyncio.run(_sweep(older_than, cursor))


def cancel_by_hand(user: str, task: str, step: int) -> Verdict:
    """Cancel a task's current run. Returns the verdict that stands.

    Raises:
        messages.errors.InvalidKey: an id that can be none.
        messages.errors.ScfWorkersError: the environment cannot be used, or something outside did not work.
    """
    return asyncio.run(_cancel(RunId(check_id(user, "user"), check_id(task, "task"), step, LATEST)))


async def _sweep(older_than: float, cursor: str) -> Swept:
    settings = load_settings(os.environ)
    logs.setup(sys.stderr, settings.log_level, "console.sweep")
    async with open_outside(settings, lambda: os.environ, vendors=False) as out:
        return await sweep(out, older_than=older_than, cursor=cursor)


async def _cancel(run: RunId) -> Verdict:
    settings = load_settings(os.environ)
    logs.setup(sys.stderr, settings.log_level, "console.cancel")
    async with open_outside(settings, lambda: os.environ, vendors=False) as out:
        return await cancel_task(run, out)
