"""Many beside each other, or one alone: a message whose process died must not take neighbours with it the next time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

__all__ = ["Solo"]


class Solo:
    """A gate that many pass together or one passes alone. Who wants to be alone is not overtaken for ever."""

    def __init__(self) -> None:
        self._change = asyncio.Condition()
        self._inside = 0
        self._waiting_alone = 0
        self._alone = False

    @asynccontextmanager
    async def beside(self) -> AsyncGenerator[None]:
        """Run together with others."""
        async with self._change:
            await self._change.wait_for(lambda: not self._alone and not self._waiting_alone)
            self._inside += 1
        try:
            yield
        finally:
            async with self._change:
                self._inside -= 1
                self._change.notify_all()

    @asynccontextmanager
    async def alone(self) -> AsyncGenerator[None]:
        """Run with nobody else inside."""
        async with self._change:
            self._waiting_alone += 1
            try:
                await self._change.wait_for(lambda: not self._alone and self._inside == 0)
                self._alone = True
            finally:
                self._waiting_alone -= 1
                self._change.notify_all()
        try:
            yield
        finally:
            async with self._change:
                self._alone = False
                self._change.notify_all()
