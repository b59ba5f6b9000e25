"""Many beside each other, or one alone: a message whose process died must not take neighbours with it the next time."""

from __future__ import annotations

import asyncio

__all__ = ["Solo"]


class Solo:
    """A gate that many pass together or one passes alone. Who wants to be alone is not overtaken for ever."""

    def __init__(self) -> None:
        self._waiters: list[asyncio.Future[None]] = []
        self._inside = 0
        self._waiting_alone = 0
        self._alone = False

    def enter_now(self, *, alone: bool) -> bool:
        """Pass if one may without waiting; `leave` must follow if so. Who wants to be alone always waits its turn."""
        if alone or self._alone or self._waiting_alone:
            return False
        self._inside += 1
        return True

    async def enter(self, *, alone: bool) -> None:
        """Wait until one may pass; `leave` must follow."""
        if alone:
            await self._enter_alone()
            return
        while not self.enter_now(alone=False):
            await self._change()

    async def _enter_alone(self) -> None:
        self._waiting_alone += 1
        try:
            while self._alone or self._inside:
                await self._change()
            self._alone = True
        finally:
            self._waiting_alone -= 1
            self._changed()

    def leave(self, *, alone: bool) -> None:
        """Make room, as one entered."""
        if alone:
            self._alone = False
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
