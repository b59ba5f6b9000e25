"""Repeat a request to the object store that failed at once: one lost answer is no outage.

Only for requests that may be repeated: the port itself repeats nothing, because it cannot know which those are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from services.errors import Denied, ObjectsDown

__all__ = ["repeated"]

T = TypeVar("T")

_PAUSES_S: Final = (0.3, 1.0)
"""Pauses before the second and the third try."""

_QUICK_S: Final = 2.0
"""A failure that took longer is not repeated: the store hangs, and the time of a stage is short."""


async def repeated(request: Callable[[], Awaitable[T]]) -> T:
    """Return the answer of a request, which is made up to three times.

    Args:
        request: makes the request. It may be made again.

    Raises:
        services.errors.ObjectsDown: the last try failed, or an earlier one in a way that no quick repeat can help: the
            store refuses this machine, asks for a longer wait, or is slow.
    """
    loop = asyncio.get_running_loop()
    for pause in _PAUSES_S:
        began = loop.time()
        try:
            return await request()
        except Denied:
            raise
        except ObjectsDown as error:
            if error.retry_after is not None or loop.time() - began > _QUICK_S:
                raise
        await asyncio.sleep(pause)
    return await request()
