"""Time limits that end at once: the loop's clock is set forward as soon as a stand-in holds a call back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ["holding_back", "set_ahead"]


def holding_back(
    hold: Callable[[Any], Awaitable[Any]], caller: Callable[[], asyncio.AbstractEventLoop | None]
) -> Callable[[Any], Awaitable[Any]]:
    """Replacement of a stand-in's `hold`: the same, and meanwhile the time limits of the caller's loop, if any, end."""

    async def hold_back(request: Any) -> Any:
        # Once for each held call: it cannot end without it, and a later jump would end another call.
        if loop := caller():
            loop.call_soon_threadsafe(set_ahead, loop)
        return await hold(request)

    return hold_back


def set_ahead(loop: Any, seconds: float = 60.0) -> None:
    """Set the clock of this thread's loop ahead."""
    before = loop.time
    loop.time = lambda: before() + seconds
