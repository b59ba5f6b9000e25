"""Status of a pump in the ledger's bucket: its topics, pauses and last work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from services.concurrency import Together
from tasks.ledger.ledger import Ledger
from tasks.ledger.status import LIMIT_S, GroupStatus, ProcessStatus, write_status

__all__ = ["EVERY_S", "PumpState", "StatusReport", "status_of"]

EVERY_S: Final = 15.0
"""Seconds between two writes."""

_FIRST_S: Final = 1.0
"""Seconds until the first write, so that the first messages are taken before it."""


class PumpState(msgspec.Struct, frozen=True, kw_only=True):
    """Current state of a pump."""

    groups: Sequence[GroupStatus]
    busy: int
    ended: Mapping[str, int]
    pauses: Mapping[str, float]
    """Paused topic or key -> seconds left."""
    received_s: float | None
    """Seconds since work on a delivery began last; None for never."""


def status_of(state: PumpState, process: str, now: float) -> ProcessStatus:
    """Return the status of a process.

    Args:
        state: of its pump.
        process: its name.
        now: seconds since the epoch by the store's clock.
    """
    return ProcessStatus(
        process=process,
        at=round(now, 3),
        groups=tuple(state.groups),
        busy=state.busy,
        ended=dict(state.ended),
        pauses={name: round(now + left, 3) for name, left in state.pauses.items()},
        received=0.0 if state.received_s is None else round(now - state.received_s, 3),
    )


class StatusReport:
    """Writer of a pump's status.

    Args:
        process: name of this process.
        state: gives the pump's state now.
        ledger: its bucket is written to, and its clock is used.
    """

    def __init__(self, process: str, state: Callable[[], PumpState], ledger: Ledger) -> None:
        self._process = process
        self._state = state
        self._ledger = ledger

    async def write(self, limit_s: float = LIMIT_S) -> None:
        """Overwrite the process's status once, within some seconds; log a failure."""
        status = status_of(self._state(), self._process, self._ledger.now())
        await write_status(status, self._ledger.objects, limit_s)

    @asynccontextmanager
    async def repeated(self) -> AsyncGenerator[None]:
        """Write the status every few seconds while the block runs."""
        async with Together() as group:
            task = group.create_task(self._repeat(), name="status")
            try:
                yield
            finally:
                task.cancel()

    async def _repeat(self) -> None:
        await asyncio.sleep(_FIRST_S)
        while True:
            await self.write()
            await asyncio.sleep(EVERY_S)
