"""Timer trigger."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from sandbox.scf.function import Function

__all__ = ["Timer"]


class Timer:
    """Sends a timer's event to a function periodically while it is entered, even if the function is busy.

    Args:
        function: the function.
        every_s: seconds between two events; the first is sent at once.
        message: text of the event.
        name: name of the trigger.
    """

    def __init__(self, function: Function, every_s: float, *, message: str = "", name: str = "timer") -> None:
        self._function = function
        self._every_s = every_s
        self._message = message
        self._name = name
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name=self._name)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            self._function.send(self._event())
            await asyncio.sleep(self._every_s)

    def _event(self) -> dict[str, str]:
        """Return the event (SCF, "Timer trigger")."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"Type": "Timer", "TriggerName": self._name, "Time": now, "Message": self._message}
