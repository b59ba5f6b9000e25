"""The workers' view of the operators' pauses: one read for all messages of a process, every few seconds."""

from __future__ import annotations

import asyncio
import math
from typing import Final

from messages.errors import ScfWorkersError
from tasks.control.pauses import Paused
from tasks.control.store import read_paused
from tasks.ledger.ledger import Ledger
from telemetry import logs
from telemetry.events import Event

__all__ = ["READ_EVERY_S", "PauseReader"]

READ_EVERY_S: Final = 15.0
"""Seconds after which the pauses are read again."""

_LIMIT_S: Final = 5.0
"""Seconds that a read may take: the message that waits for it goes on with the last state then."""

log = logs.get(__name__)


class PauseReader:
    """Reader of the pauses. An outage of the store leaves the last state in force.

    Args:
        every_s: seconds after which it is read again; infinite for never, where nothing can be paused.
    """

    def __init__(self, every_s: float = math.inf) -> None:
        self._every_s = every_s
        self._read_at = -math.inf
        self._last: Paused = {}
        self._lock = asyncio.Lock()

    async def current(self, ledger: Ledger) -> Paused:
        """Return the pauses, at most some seconds old. Nothing is raised."""
        if self._is_due(ledger):
            async with self._lock:
                if self._is_due(ledger):
                    await self._read(ledger)
        return self._last

    def _is_due(self, ledger: Ledger) -> bool:
        # A clock that was set back must not put the next read off.
        return math.isfinite(self._every_s) and abs(ledger.now() - self._read_at) >= self._every_s

    async def _read(self, ledger: Ledger) -> None:
        try:
            async with asyncio.timeout(_LIMIT_S):
                found = await read_paused(ledger.objects)
        except (ScfWorkersError, TimeoutError) as error:
            log.warning(Event.PAUSES_UNREAD, error=error)
        else:
            if found.keys() != self._last.keys():
                log.info(Event.PAUSES_CHANGED, paused=sorted(map(str, found)))
            self._last = found
        self._read_at = ledger.now()
