"""Many beside each other, or one isolated: a message that killed its process must take no neighbours with it again."""

from __future__ import annotations

import asyncio

__all__ = ["ExclusiveGate"]


class ExclusiveGate:
    """A gate that many pass together or one passes isolated. One that wants isolation is not overtaken for ever."""

    def __init__(self) -> None:
        self._waiters: list[asyncio.Future[None]] = []
        self._inside = 0
        self._waiting_isolated = 0
        self._isolated = False

    def enter_now(self, *, isolated: bool) -> bool:
        """Pass if one may without waiting; `leave` must follow if so. An isolated one always waits its turn."""
        if isolated or self._isolated or self._waiting_isolated:
            return False
        self._inside += 1
        return True

    async def enter(self, *, isolated: bool) -> None:
        """Wait until one may pass; `leave` must follow."""
        if isolated:
            await self._enter_isolated()
            return
        while not self.enter_now(isolated=False):
            await self._change()

    async def _enter_isolated(self) -> None:
        self._waiting_isolated += 1
        try:
            while self._isolated or self._inside:
                await self._change()
            self._isolated = True
        finally:
            self._waiting_isolated -= 1
            self._changed()

    def leave(self, *, isolated: bool) -> None:
        """Make room, as one entered."""
        if isolated:
            self._isolated = False
        else:
            self._inside -= 1
        if self._waiters:
            self._changed()

    async def _change(self) -> None:
        """Return after the next change. A condition variable would cost every message two locks."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def _changed(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
