"""Writes of facts that exist only in memory, retried for a while by the process that has them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from consumers.engine.limits import SETTLE_LIMIT_S
from services.errors import ObjectsDown
from telemetry import logs
from telemetry.events import Event

__all__ = ["settle"]

T = TypeVar("T")

_PAUSE_S: Final = 1.0

log = logs.get(__name__)


async def settle(write: Callable[[], Awaitable[T]], limit: float = SETTLE_LIMIT_S) -> T:
    """Repeat a write to the ledger until it is stored.

    Args:
        write: one try.
        limit: seconds for all of them. Tries are not counted: a store that hangs takes long to fail.

    Raises:
        services.errors.ObjectsDown: it was not stored in time.
    """
    try:
        async with asyncio.timeout(limit):
            while True:
                try:
                    return await write()
                except ObjectsDown as error:
                    log.warning(Event.LEDGER_WRITE_FAILED, error=error)
                    await asyncio.sleep(_PAUSE_S)
    except TimeoutError as error:
        raise ObjectsDown(f"the ledger took nothing for {limit:g} s") from error
