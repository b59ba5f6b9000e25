"""Work of the command `scf-workers erase` with the services of the environment."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Final

from runtime.settings import Settings, load_settings
from runtime.wiring import open_erasure, open_replay
from tasks.context import ErasureServices
from tasks.ending.cancel import cancel_task
from tasks.erasing.erase import erase_again, erase_user
from tasks.erasing.survey import Survey, survey_of
from telemetry import logs

__all__ = ["erase", "survey"]

_POLL_S: Final = 1.0


def survey(user: str) -> Survey:
    """Return a user's data.

    Raises:
        messages.errors.ScfWorkersError: the environment cannot be used, or the store failed.
    """

    async def read() -> Survey:
        async with open_erasure(_settings(), lambda: os.environ) as services:
            return await survey_of(user, services)

    return asyncio.run(read())


def erase(user: str, by: str, why: str, *, cancels: bool, wait_s: float) -> tuple[Survey, Survey]:
    """Erase a user's data.

    Args:
        user: the user.
        by: name of the operator.
        why: the reason.
        cancels: cancel unfinished tasks first.
        wait_s: seconds to wait for their end, and then for the end of what their workers still write.

    Returns:
        What there was, and what is left.

    Raises:
        tasks.errors.CannotErase: tasks are unfinished, or a bucket keeps versions.
        messages.errors.ScfWorkersError: the environment cannot be used, or the store failed; erasing again goes on.
    """

    async def work() -> tuple[Survey, Survey]:
        settings = _settings()
        async with open_erasure(settings, lambda: os.environ) as services:
            found = await survey_of(user, services)
            cancelled = cancels and bool(found.unfinished)
            if cancelled:
                await _cancel(found, settings)
                found = await _ended(user, wait_s, services)
            left = await erase_user(found, by, why, services)
            return found, await erase_again(left, by, why, services, patience_s=wait_s if cancelled else 0.0)

    return asyncio.run(work())


async def _cancel(found: Survey, settings: Settings) -> None:
    async with open_replay(settings, lambda: os.environ) as services:
        for one in found.unfinished:
            await cancel_task(one.run, services)


async def _ended(user: str, wait_s: float, services: ErasureServices) -> Survey:
    """Wait until the backend has acknowledged every verdict, which workers bring to it; at most `wait_s` seconds."""
    until = time.monotonic() + wait_s
    while True:
        found = await survey_of(user, services)
        if not found.unfinished or time.monotonic() >= until:
            return found
        await asyncio.sleep(_POLL_S)


def _settings() -> Settings:
    settings = load_settings(os.environ)
    logs.setup(sys.stderr, settings.log_level, "console.erase")
    return settings
