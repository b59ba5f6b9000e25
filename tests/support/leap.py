"""Limits that end at once: a loop whose clock is set ahead as soon as a stand-in holds a call back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ["holding_back"]


def holding_back(
    hold: Callable[[Any], Awaitable[Any]], caller: Callable[[], asyncio.AbstractEventLoop | None]
) -> Callable[[Any], Awaitable[Any]]:
    """What a stand-in does instead of `hold`: the same, and meanwhile the limits of the caller's loop, if any, end."""

    async def hold_back(request: Any) -> Any:
        leaping = asyncio.create_task(_leap(loop)) if (loop := caller()) else None
        try:
            return await hold(request)
        finally:
            if leaping:
                leaping.cancel()

    return hold_back


async def _leap(loop: Any) -> None:
    """Set a loop's clock ahead again and again: whatever limit runs is over."""
    while True:
        loop.call_soon_threadsafe(_set_ahead, loop)
        await asyncio.sleep(0.01)


def _set_ahead(loop: Any) -> None:
    before = loop.time
    loop.time = lambda: before() + 60.0
